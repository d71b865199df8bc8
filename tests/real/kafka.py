"""A real Apache Kafka broker: one KRaft node, its jars fetched by ``scripts/kafka.sh libs``."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from tests.real.certificates import Certificates
from tests.real.process import Server, answers, free_ports, wait_until

ROOT = Path(__file__).resolve().parents[2]
LIBS = ROOT / ".kafka" / "libs"
USER, PASSWORD = "edgeloop", "a password of tests"
_MAX_BYTES = str(2 << 20)
_TOPIC_S = 10.0


class Broker(Server):
    """One broker in memory of ``heap_mb``; ``secure`` adds a listener with TLS and SCRAM-SHA-512.

    ``properties`` go over those of the file below.
    """

    what = "the Kafka broker"

    def __init__(self, *, secure: bool = False, heap_mb: int = 512, properties: dict[str, str] | None = None) -> None:
        super().__init__()
        self.port, self._controller_port, self.secure_port = free_ports(3)
        self._heap_mb = heap_mb
        self._properties = properties or {}
        self._file = self.folder / "server.properties"
        self.certificates = Certificates(self.folder / "tls") if secure else None

    @property
    def bootstrap(self) -> str:
        """Its address without TLS."""
        return f"127.0.0.1:{self.port}"

    @property
    def secure_bootstrap(self) -> str:
        """Its address with TLS and SCRAM."""
        return f"localhost:{self.secure_port}"

    def secure_options(self, password: str = PASSWORD) -> dict[str, Any]:
        """What a client of kafka-python needs for the address with TLS and SCRAM."""
        if self.certificates is None:
            raise RuntimeError("this broker has no TLS: Broker(secure=True)")
        return {
            "bootstrap_servers": self.secure_bootstrap,
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(self.certificates.ca),
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": USER,
            "sasl_plain_password": password,
        }

    # Life

    def make(self) -> None:
        """Fetch the jars where they are missing, and format the data folder.

        Raises:
            RuntimeError: what `scripts/kafka.sh libs` said, or the broker's own tool.
        """
        fetched = subprocess.run(
            [str(ROOT / "scripts" / "kafka.sh"), "libs"], capture_output=True, text=True, check=False
        )
        if fetched.returncode:
            raise RuntimeError(fetched.stderr)
        listeners = {"PLAINTEXT": self.bootstrap}
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
            "log.dirs": str(self.folder / "log"),
            "auto.create.topics.enable": "false",
            "message.max.bytes": _MAX_BYTES,
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            # A broker that was killed is let in again only when the one before is taken for dead.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
        }
        scram = []
        if self.certificates is not None:
            listeners["SASL_SSL"] = self.secure_bootstrap
            lines |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.certificates.server_chain),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.certificates.ca),
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            }
            scram = ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
        lines["advertised.listeners"] = ",".join(f"{name}://{address}" for name, address in listeners.items())
        lines["listeners"] = f"{lines['advertised.listeners']},CONTROLLER://127.0.0.1:{self._controller_port}"
        lines |= self._properties
        self._file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        cluster_id = "A" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[:21]  # a first "-" would be an option
        self.run_through(
            self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._file), *scram)
        )

    def command(self) -> list[str]:
        """The broker."""
        return self._java("kafka.Kafka", str(self._file))

    def _java(self, main: str, *arguments: str) -> list[str]:
        # Up in half the time; slow where it runs for long, and these do not.
        quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
        return ["java", f"-Xmx{self._heap_mb}m", *quick, *quiet, "-cp", f"{LIBS}/*", main, *arguments]

    def ready(self) -> bool:
        """Whether it names itself as a broker of its cluster."""
        if not answers(self.port):  # the client leaves sockets behind where nobody listens
            return False
        try:
            with self.admin(bootstrap_timeout_ms=2_000, request_timeout_ms=2_000) as admin:
                return bool(admin.describe_cluster()["brokers"])
        except Exception:
            return False

    # Tools

    def admin(self, **options: Any) -> Any:
        """An admin client; a context manager."""
        return KafkaAdminClient(**{"bootstrap_servers": self.bootstrap} | options)

    def producer(self, **options: Any) -> Any:
        """A producer."""
        return KafkaProducer(**{"bootstrap_servers": self.bootstrap} | options)

    def consumer(self, *topics: str, **options: Any) -> Any:
        """A consumer of topics from their beginning, in no group."""
        whole = {"bootstrap_servers": self.bootstrap, "group_id": None, "auto_offset_reset": "earliest"}
        return KafkaConsumer(*topics, **whole | options)

    def create_topic(self, name: str, partitions: int, config: dict[str, str] | None = None) -> None:
        """Make a topic, and wait until it takes records."""
        config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": _MAX_BYTES} | (config or {})
        with self.admin() as admin:
            admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1, "configs": config}})
            admin.wait_for_topics([name])

    def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        with self.admin() as admin:
            admin.delete_topics([name])

    def add_partitions(self, name: str, total: int) -> None:
        """Let a topic grow to so many partitions, and wait until they take records."""
        with self.admin() as admin:
            admin.create_partitions({name: total})
            wait_until(lambda: _led(admin, name) == total, f"the partitions of {name}", _TOPIC_S)


def _led(admin: Any, topic: str) -> int:
    """How many partitions of a topic have a leader."""
    (found,) = admin.describe_topics([topic])
    return sum(partition["leader_id"] >= 0 for partition in found["partitions"])
