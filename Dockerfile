# syntax=docker/dockerfile:1
# Two stages: the first resolves nothing, it installs what requirements/*.txt pins by hash; the second has the result
# and no tool that built it.
#
# The base is a tag that moves with its security fixes. To pin it: --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:…
# with the digest that `docker buildx imagetools inspect python:3.13-slim-trixie` shows, and renew it.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/convey && python -m venv --without-pip /opt/build
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m pip --python /opt/convey/bin/python install --no-deps --require-hashes -r requirements/runtime.txt \
 && python -m pip --python /opt/build/bin/python install --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
ARG REVISION=unknown
RUN echo "$REVISION" > app/revision.txt \
 && python -m pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --wheel-dir /opt/wheels . \
 && python -m pip --python /opt/convey/bin/python install --no-deps --no-index --find-links /opt/wheels convey

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Convey" \
      org.opencontainers.image.description="A self-hosted gateway for server-side conversion events" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /opt/convey /opt/convey
# PID 1 is the gateway itself. A container listens on every address; only what is published can be reached.
ENV PATH=/opt/convey/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CONVEY_SERVER__HOST=0.0.0.0 \
    CONVEY_SERVER__METRICS_HOST=0.0.0.0
# The only place it writes to, and only with SQLite: mount a volume here.
RUN install -d -o 65532 -g 65532 /var/lib/convey
WORKDIR /var/lib/convey
USER 65532:65532
EXPOSE 8000 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
