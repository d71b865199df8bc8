# Edgeloop: door, worker and tools in one image; which of them runs is the command's to say.
# With its digest where images must not change by themselves: PYTHON_IMAGE=python:3.12-slim@sha256:…
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/edgeloop \
 && /opt/edgeloop/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY edgeloop edgeloop
COPY connectors connectors
COPY streams streams
COPY analysis analysis
COPY reports reports
# What built it is of no use to who runs it, nor to who breaks in.
RUN /opt/edgeloop/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index . \
 && /opt/edgeloop/bin/pip uninstall -y hatchling editables pathspec pluggy trove-classifiers pip

FROM ${PYTHON_IMAGE}
# A volume takes owner and mode from the folder that it is first mounted over.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/edgeloop --shell /usr/sbin/nologin edgeloop \
 && install -d -m 700 -o edgeloop -g edgeloop /var/lib/edgeloop /var/lib/edgeloop/keys \
    /var/lib/edgeloop/keys/letters
COPY --from=build /opt/edgeloop /opt/edgeloop
ENV PATH=/opt/edgeloop/bin:$PATH EDGELOOP_HOME=/var/lib/edgeloop PYTHONUNBUFFERED=1
USER edgeloop
WORKDIR /var/lib/edgeloop
ENTRYPOINT ["edgeloop"]
CMD ["--help"]
