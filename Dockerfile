# Edgeloop: door, worker and tools in one image; which of them runs is the command's to say.
FROM python:3.12-slim AS build
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
RUN /opt/edgeloop/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/edgeloop --create-home edgeloop
COPY --from=build /opt/edgeloop /opt/edgeloop
ENV PATH=/opt/edgeloop/bin:$PATH EDGELOOP_HOME=/var/lib/edgeloop PYTHONUNBUFFERED=1
USER edgeloop
VOLUME /var/lib/edgeloop
ENTRYPOINT ["edgeloop"]
CMD ["--help"]
