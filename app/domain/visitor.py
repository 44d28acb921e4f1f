"""Tell people from previews, and one browser from another, by method and headers alone. Stores neither."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final


class Client(StrEnum):
    """Name the kind of program that asks."""

    WECHAT = "wechat"
    WECOM = "wecom"
    DEVTOOLS = "wechat_devtools"
    BROWSER = "browser"
    BOT = "bot"


class System(StrEnum):
    """Name the operating system that a client says it runs on."""

    IOS = "ios"
    ANDROID = "android"
    WINDOWS = "windows"
    MAC = "mac"
    LINUX = "linux"
    OTHER = "other"


_DESKTOPS: Final = frozenset({System.WINDOWS, System.MAC, System.LINUX})
# Reading a member off its class is a search, and every scan asks for it.
_BOT_CLIENT: Final = Client.BOT


@dataclass(frozen=True, slots=True)
class Browser:
    """Describe what a user agent string gives away, and nothing that could name a person."""

    client: Client
    system: System
    mini_program: bool = False

    @property
    def desktop(self) -> bool:
        """Tell whether the page stands on a computer, where nobody can long-press a QR."""
        return self.system in _DESKTOPS


# Source: docs/facts.md §5, the declared crawlers of Tencent; beside them, words that programs use of themselves. Phones
# are called CUBOT, M bot and POWER BOT, so a bare "bot" says nothing.
_TENCENT: Final = re.compile(r"Tencent Security Team|mpcrawler|TencentBot", re.IGNORECASE)
_DECLARED: Final = re.compile(r"(?<!cu)bot/\d|crawl|spider", re.IGNORECASE)
# What a manufacturer calls a phone is no name of a program: Spider X, Robot X1.
_MODEL: Final = re.compile(r"(Android [\d.]+;(?: [a-z]{2}[-_][A-Za-z]{2};)?)[^;()]*(?= Build/)")
# Names that programs give themselves, and that the list lacks: those of `tests/facts/ua_programs.json` and of probes.
_UNLISTED: Final = re.compile(
    r"Playwright|Puppeteer|Cypress/|Thunderbird|proofpoint|urlscan|Palo ?Alto ?Networks|TencentCloud-Probe"
    r"|Teams Preview|WeChatShareExtensionDebug|meta-external|Google-(?:PageRenderer|Safety)|^Viber|^Prometheus"
    r"|^Blackbox|LarkUrl2Meta|Mimecast|virustotal|Barracuda|^Symantec|^Selenium|Cardyb|^Misskey|^HAProxy|^Consul|^nginx-|^Envoy"
    r"|^Microsoft Office",
    re.IGNORECASE,
)
# Libraries that the list has, too: an app or a script of a marketer asks with one.
_LIBRARY: Final = re.compile(
    r"curl|wget|httpie|postman|python|aiohttp|httpx|okhttp|axios|undici|node-fetch|^got |superagent|go-http-client"
    r"|java/|httpclient|httpasyncclient|reactornetty|guzzle|^php|ruby|faraday|typhoeus|^http\.rb/[\d.]+$|reqwest"
    r"|hyper/|restsharp|dart/|libwww|lua-resty|cfnetwork|dalvik",
    re.IGNORECASE,
)
# Office asks for what a document links to before it opens a browser, and says so in the words of an old one.
_OFFICE: Final = re.compile(r"ms-office|MSOffice")
# Source: RFC 9110 §10.1.5 and every browser since 1994: what shows pages to people says one of these, and describes the
# device in brackets. HTTP libraries, monitors and unfurlers that say their own name do not.
_BROWSER: Final = re.compile(r"(?:Mozilla|Opera)/\d[^(]*\(|UCWEB")
_WATCHING: Final = re.compile(r"bot|preview|unfurl|monitor|uptime|health|probe|check|scan", re.IGNORECASE)
_SYSTEMS: Final = (
    # Desktop marks come first: desktop WeChat on Windows also says Android-like words in some builds.
    (re.compile(r"MacWechat|Macintosh"), System.MAC),
    (re.compile(r"X11;|UnifiedPCLinux"), System.LINUX),
    (re.compile(r"Windows"), System.WINDOWS),
    (re.compile(r"iPhone|iPad|iPod"), System.IOS),
    (re.compile(r"Android|OpenHarmony|HarmonyOS"), System.ANDROID),
)
# What browsers say of a request that nobody made. Lower case.
PURPOSE_HEADERS: Final = frozenset({"sec-purpose", "purpose", "x-purpose", "x-moz"})
_PREFETCH: Final = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)


# Nobody comes from here through the internet. Source: RFC 1918, 6598, 4193, 4291, 3927, 1122.
_PRIVATE: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip


# An IPv4 address stands in the last 32 bits. Source: RFC 6052, section 2.1.
_NAT64: Final = IPv6Network("64:ff9b::/96")


def _is_private(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _PRIVATE if network.version == address.version)


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Unwrap the IPv4 address of a visitor that an IPv6 address carries: mapped, by NAT64, 6to4 or Teredo.

    One that carries a private address stays as it is: it would count as a proxy, and be bounded by nothing.
    Source: RFC 4291, 6052, 3056, 4380.
    """
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    inner = address.sixtofour or (address.teredo[1] if address.teredo else None)
    if address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
    return address if inner is None or _is_private(inner) else inner


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Name the network of a client: its IPv4 address, or the first 64 bits of its IPv6 address, as a household has.

    '' for private addresses and for what is no address: these are proxies, and nobody can tell how many are behind one.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    found = _carried(found)
    if _is_private(found):
        return ""
    return str(found) if isinstance(found, IPv4Address) else f"{int(found) >> 64:x}"


def read_user_agent(text: str, *, json: bool = False, listed: Callable[[str], bool] = lambda _: False) -> Browser:
    """Classify a user agent string; the order of the tests is part of the rule (WeCom also says MicroMessenger).

    An HTTP library is a bot, unless it asks for `json`: a page is of no use to it. `listed` looks up the names of
    programs, for agents other than WeChat's or WeCom's, whose mark stands for a person whatever else the agent says.
    """
    system = next((system for mark, system in _SYSTEMS if mark.search(text)), System.OTHER)
    if _TENCENT.search(text):
        client = Client.BOT
    elif "wechatdevtools/" in text:
        client = Client.DEVTOOLS
    elif "wxwork/" in text:
        client = Client.WECOM
    elif "MicroMessenger/" in text:
        client = Client.WECHAT
    else:
        client = _other_client(_MODEL.sub(r"\1", text), listed, json=json)
    mini_program = "MiniProgramEnv" in text or "miniProgram" in text
    return Browser(client, system, mini_program)


def _other_client(text: str, listed: Callable[[str], bool], *, json: bool) -> Client:
    """Classify an agent without a mark of Tencent's apps and without the model of its phone."""
    if _DECLARED.search(text) or _UNLISTED.search(text) or _OFFICE.search(text):
        return Client.BOT
    if _BROWSER.search(text):
        return Client.BOT if listed(text) else Client.BROWSER
    asks = json and not _WATCHING.search(text) and (_LIBRARY.search(text) or not listed(text))
    return Client.BROWSER if asks else Client.BOT


def is_preview(method: str, browser: Browser, headers: Mapping[str, str]) -> bool:
    """Tell whether nobody is looking: `HEAD`, a declared bot, or a prefetch. A preview takes no place.

    Shapes: of the headers, only those in `PURPOSE_HEADERS` are looked at.
    """
    if method == "HEAD" or browser.client is _BOT_CLIENT:
        return True
    return not PURPOSE_HEADERS.isdisjoint(headers) and any(
        _PREFETCH.search(headers[name]) for name in PURPOSE_HEADERS & headers.keys()
    )
