"""The page of the API in a real Chromium: its forms work as they stand, and a print that it has drawn can be seen."""

import base64
import json
from pathlib import Path
from typing import Any, Final

from app.domain.workspace import Scope, Workspace
from app.web.api import ApiContext, build_api
from tests.conftest import client, key_to
from tests.web.api.steps import done, make_code

from .conftest import Chromium, Page, Serve

DESKTOP: Final = (1280, 900)
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
# Waits are for what the page draws by itself; the debugger ends one that never comes.
HANDS: Final = """
globalThis.find = (selector) => new Promise((found) => {
    const look = () => document.querySelector(selector);
    if (look()) return found(look());
    const watching = new MutationObserver(() => { if (look()) { watching.disconnect(); found(look()); } });
    watching.observe(document.body, {childList: true, subtree: true, attributes: true});
});
globalThis.press = async (selector) => void (await find(selector)).click();
globalThis.type = async (selector, text) => {
    const field = await find(selector);
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, text);
    field.dispatchEvent(new Event('input', {bubbles: true}));
    // What was typed counts at once when the field is left, and else after a moment.
    field.dispatchEvent(new FocusEvent('focusout', {bubbles: true}));
};
globalThis.choose = async (selector, data) => {
    const field = await find(selector), files = new DataTransfer();
    files.items.add(new File([Uint8Array.from(atob(data), one => one.charCodeAt(0))], 'a.jpg', {type: 'image/jpeg'}));
    field.files = files.files;
    field.dispatchEvent(new Event('change', {bubbles: true}));
};
globalThis.seen = (selector) => new Promise((found) => {
    const look = () => {
        const width = document.querySelector(selector)?.naturalWidth;
        if (width) found(width); else requestAnimationFrame(look);
    };
    look();
});
globalThis.answered = async (box) => ({
    status: (await find(box + ' .live-responses-table .response .response-col_status')).innerText.trim(),
    body: document.querySelector(box + ' .live-responses-table').innerText,
});
"""


async def opened(page: Page, origin: str, operation: str, code: str, key: str) -> str:
    """Open one operation on the page, with a key and the id of a code; return the selector of its box."""
    await page.go(f"{origin}/docs")
    await page.evaluate(HANDS)
    await page.evaluate("press('button.authorize')")
    await page.evaluate(f"type('.auth-container input', {json.dumps(key)})")
    await page.evaluate("press('.auth-btn-wrapper button.authorize')")
    await page.evaluate("press('.auth-btn-wrapper button.btn-done')")
    box = f"#operations-{operation}"
    await page.evaluate(f"press('{box} .opblock-summary-control')")
    await page.evaluate(f"type('{box} [data-param-name=code_id] input', '{code}')")
    return box


async def test_a_picture_is_uploaded_with_the_form_as_it_stands(
    context: ApiContext, workspace: Workspace, samples: Path, chromium: Chromium, serve: Serve
) -> None:
    origin = await serve(build_api(context))
    key = await key_to(context, workspace, Scope.ADMIN)
    async with client(context, key) as api, chromium.page(DESKTOP, AGENT) as page:
        code = await make_code(api)
        box = await opened(page, origin, "targets-add_target", code["id"], key)
        picture = base64.b64encode((samples / "group_zh.jpg").read_bytes()).decode()
        await page.evaluate(f"choose('{box} input[type=file]', '{picture}')")
        await page.evaluate(f"press('{box} button.execute')")
        answer: dict[str, Any] = await page.evaluate(f"answered('{box}')")
        assert answer["status"].startswith("201"), answer
        (target,) = done(await api.get(f"/codes/{code['id']}/targets"))["items"]
        assert (target["name_source"], target["expires_at_source"]) == ("printed", "printed")
        assert (target["member_limit"], target["account_id"]) == (200, None)


async def test_a_print_is_seen(context: ApiContext, workspace: Workspace, chromium: Chromium, serve: Serve) -> None:
    origin = await serve(build_api(context))
    key = await key_to(context, workspace, Scope.ADMIN)
    async with client(context, key) as api, chromium.page(DESKTOP, AGENT) as page:
        code = await make_code(api)
        box = await opened(page, origin, "print-print_png", code["id"], key)
        assert "PNG" not in await page.evaluate(f"find('{box} .responses-inner').then(one => one.innerText)")
        await page.evaluate(f"press('{box} button.execute')")
        answer = await page.evaluate(f"answered('{box}')")
        assert answer["status"].startswith("200"), answer
        assert await page.evaluate(f"seen('{box} .live-responses-table img')") > 0
        assert not [one for one in page.complaints if "Content Security Policy" in one]
