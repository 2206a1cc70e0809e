# One image for broker and worker; the command tells which. It was never built where it was written: see docs/deployment.md.
# To pin the base, replace the tag by name@sha256:…, as `docker buildx imagetools inspect python:3.12-slim` shows it.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
WORKDIR /src
COPY requirements ./requirements
# Every file that is installed has a hash in the lock. What builds stays here, and the image has neither that nor pip.
RUN python -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.txt \
 && python -m venv --without-pip /opt/midstream \
 && /build/bin/pip --python /opt/midstream/bin/python install --no-cache-dir --require-hashes \
      --requirement requirements/server.txt --requirement requirements/otel.txt \
      --requirement requirements/gemini.txt
COPY pyproject.toml LICENSE ./
COPY broker ./broker
COPY worker ./worker
RUN /build/bin/python -m hatchling build --target wheel --directory /dist \
 && /build/bin/pip --python /opt/midstream/bin/python install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM ${PYTHON}
COPY --from=build /opt/midstream /opt/midstream
# Apps are looked for here: mount your code, or build an image upon this one.
WORKDIR /app
# Nothing that runs here needs a shell, pip or a package manager, and an intruder would. The shell removes itself last.
RUN rm -rf /usr/local/lib/python3.*/ensurepip /usr/local/lib/python3.*/site-packages/* /usr/local/bin/pip* \
      /usr/bin/apt* /usr/bin/dpkg* /usr/bin/perl* /bin/bash /bin/dash /bin/sh
ENV PATH=/opt/midstream/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080
# As the command below serves it; a worker, which serves nothing, turns this off.
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
CMD ["midstream", "broker", "--host", "0.0.0.0", "--port", "8080"]
