# The service without servers of its own: bring PostgreSQL and Redis, see deploy/.

FROM python:3.11-slim AS packages
RUN python -m venv /venv
COPY requirements/server.txt /tmp/server.txt
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement /tmp/server.txt

FROM python:3.11-slim AS fonts
RUN apt-get update && apt-get install --yes --no-install-recommends fonts-noto-cjk

FROM python:3.11-slim
# Numbers rather than names, so that Kubernetes can see that this is not root.
RUN groupadd --gid 10001 huoma && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin huoma
COPY --from=packages /venv /venv
# Draws the captions of prints, for 20 MB; the whole package is 91: docs/adr/0039-captions.md.
COPY --from=fonts /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc /usr/share/fonts/opentype/noto/
COPY --from=fonts /usr/share/doc/fonts-noto-cjk/copyright /usr/share/doc/fonts-noto-cjk/
WORKDIR /srv/huoma
COPY . .
RUN /venv/bin/python -m compileall -q app migrations
# The OCR runtime reports home unless told not to before it loads; app/qr/read.py says so, too.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
# Serves more scans with the same processors, for 85 MB: docs/adr/0018-server.md.
ENV HUOMA_SERVER=granian
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"HUOMA_PORT\", 8000)}/healthz', timeout=2)"]
# No shell in between, so that SIGTERM reaches the service.
ENTRYPOINT ["python", "-m", "app.cli"]
CMD ["serve", "--host", "0.0.0.0"]
