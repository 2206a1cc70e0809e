# One image for broker and worker; the command tells which.
FROM python:3.12-slim AS build
WORKDIR /src
COPY constraints.txt pyproject.toml README.md ./
RUN python -m venv /opt/midstream
COPY broker ./broker
COPY worker ./worker
RUN /opt/midstream/bin/pip install --no-cache-dir --constraint constraints.txt '.[server]'

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home midstream
COPY --from=build /opt/midstream /opt/midstream
ENV PATH=/opt/midstream/bin:$PATH PYTHONUNBUFFERED=1
USER midstream
WORKDIR /tmp
EXPOSE 8080
# As the command below serves it; a worker, which serves nothing, turns this off.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
CMD ["midstream", "broker", "--host", "0.0.0.0", "--port", "8080"]
