# The daemon alone: no compiler, no pip, no root. A read-only root file system is enough for it:
#   docker run --read-only -p 8000:8000 -e AMQP_URL=... -e JWT_SECRET=... bridged

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.txt ./
RUN python -m venv /opt/bridged \
    && /opt/bridged/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
# What built the project stays behind; its byte code is made here, since nothing can be written later.
RUN /opt/bridged/bin/pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps --no-build-isolation . \
    && /opt/bridged/bin/pip uninstall --yes setuptools pip \
    && /opt/bridged/bin/python -m compileall -q /opt/bridged/lib

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin bridged
COPY --from=build /opt/bridged /opt/bridged
WORKDIR /app
COPY config config
COPY schemas schemas
COPY docs docs
ENV PATH=/opt/bridged/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LOG_FORMAT=json
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", \"8000\")}/healthz', timeout=2)"]
ENTRYPOINT ["bridged"]
CMD ["run", "-c", "config/bridge.yaml"]
