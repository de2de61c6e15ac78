"""The configuration of one node: cassandra.yaml, logback.xml and the JVM's command line.

Close to what Cassandra ships; what differs is about one machine, loopback and a quick start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from .errors import ClusterError
from .java import Java
from .memory import MIB

NUM_TOKENS = 8
DATACENTER = "datacenter1"  # what Cassandra's SimpleSnitch calls the only one

DAEMON = "org.apache.cassandra.service.CassandraDaemon"

# From Cassandra 5.0's jvm-server.options, jvm11-server.options and jvm17-server.options.
_FLAGS = [
    "-ea",
    "-da:net.openhft...",
    "-XX:+UseThreadPriorities",
    "-XX:+HeapDumpOnOutOfMemoryError",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xss256k",
    "-XX:+UseTLAB",
    "-XX:+ResizeTLAB",
    "-XX:+PerfDisableSharedMem",
    "-XX:+UseG1GC",
    "-XX:+ParallelRefProcEnabled",
    "-XX:MaxTenuringThreshold=1",
    "-XX:G1RSetUpdatingPauseTimePercent=5",
    "-XX:MaxGCPauseMillis=300",
    "-Djava.net.preferIPv4Stack=true",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.useCacheForAllThreads=true",
    "-Dio.netty.allocator.maxOrder=11",
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.management.rmi/com.sun.jmx.remote.internal.rmi=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.server=ALL-UNNAMED",
    "--add-exports=java.sql/java.sql=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.module=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.loader=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.reflect=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.math=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.module=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.util.jar=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
]

_FLAGS_11 = [
    "-XX:-UseBiasedLocking",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.util=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
]

_FLAGS_17 = [
    "--add-exports=java.base/java.lang.ref=ALL-UNNAMED",
    "--add-exports=jdk.unsupported/sun.misc=ALL-UNNAMED",
    "--add-exports=jdk.compiler/com.sun.tools.javac.file=ALL-UNNAMED",
    "--add-exports=jdk.attach/sun.tools.attach=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=jdk.compiler/com.sun.tools.javac=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
]

# No waiting for nodes that can't be there: all of them are on this machine, and new.
_QUICK_START = [
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=1000",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dcassandra.consistent.rangemovement=false",
]

_LOGBACK = """\
<configuration>
  <shutdownHook class="ch.qos.logback.core.hook.DelayingShutdownHook"/>
  <appender name="FILE" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>{logs}/system.log</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>{logs}/system.log.%i</fileNamePattern>
      <minIndex>1</minIndex>
      <maxIndex>2</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>50MB</maxFileSize>
    </triggeringPolicy>
    <encoder>
      <pattern>%-5level [%thread] %date{{ISO8601}} %F:%L - %msg%n</pattern>
    </encoder>
  </appender>
  <root level="INFO"><appender-ref ref="FILE"/></root>
</configuration>
"""


def write_config(
    folder: Path,
    *,
    index: int,
    addresses: Sequence[str],
    port: int,
    storage_port: int,
    settings: Mapping[str, object],
) -> None:
    """Make a node's folder and write its cassandra.yaml and logback.xml.

    `index` is the node's place in `addresses`; `settings` go into cassandra.yaml over our own.
    """
    for name in ("conf", "data", "logs", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    yaml = {
        **_yaml(folder, index, addresses, port, storage_port),
        **settings,
    }
    # Every JSON value is a YAML value too.
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in yaml.items()]
    (folder / "conf" / "cassandra.yaml").write_text("".join(lines))
    logs = escape(str(folder / "logs"))
    (folder / "conf" / "logback.xml").write_text(_LOGBACK.format(logs=logs))


def java_command(
    java: Java, jars: Path, folder: Path, heap: int, properties: Sequence[str] = ()
) -> list[str]:
    """Return the command line that runs the node of `folder`.

    `heap` is in bytes; `properties` are further arguments of the JVM. Raises ClusterError if a
    path can't be written into a command line of Java's.
    """
    if ":" in str(jars):
        raise ClusterError(f"the cache folder must not have a colon in its path: {jars}")
    agents = [f"-javaagent:{jar}" for jar in sorted(jars.glob("jamm-*.jar"))]
    size = f"{heap // MIB}M"
    return [
        str(java.path),
        *properties,
        *_FLAGS,
        *(_FLAGS_11 if java.major == 11 else _FLAGS_17),
        *_QUICK_START,
        *agents,
        f"-Xms{size}",
        f"-Xmx{size}",
        f"-XX:HeapDumpPath={folder / 'logs'}",
        f"-XX:ErrorFile={folder / 'logs' / 'hs_err.log'}",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Djna.tmpdir={folder / 'tmp'}",
        f"-Dlogback.configurationFile={folder / 'conf' / 'logback.xml'}",
        f"-Dcassandra.config={(folder / 'conf' / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.logdir={folder / 'logs'}",
        f"-Dcassandra.storagedir={folder / 'data'}",
        "-Dcassandra-foreground=yes",
        "-cp",
        f"{jars}/*",
        DAEMON,
    ]


def _yaml(
    folder: Path, index: int, addresses: Sequence[str], port: int, storage_port: int
) -> dict[str, object]:
    address = addresses[index]
    data = folder / "data"
    return {
        "cluster_name": "concurrent_exec",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "num_tokens": NUM_TOKENS,
        "initial_token": ",".join(map(str, _tokens(index, len(addresses)))),
        "auto_bootstrap": False,
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{addresses[0]}:{storage_port}"}],
            }
        ],
        "listen_address": address,
        "storage_port": storage_port,
        "rpc_address": address,
        "start_native_transport": True,
        "native_transport_port": port,
        "data_file_directories": [str(data / "data")],
        "commitlog_directory": str(data / "commitlog"),
        "hints_directory": str(data / "hints"),
        "saved_caches_directory": str(data / "saved_caches"),
        "cdc_raw_directory": str(data / "cdc_raw"),
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        "commitlog_segment_size": "32MiB",
        # Dropped and truncated tables are gone: nobody restores a snapshot of a trial.
        "auto_snapshot": False,
    }


def _tokens(index: int, nodes: int) -> list[int]:
    """Return the tokens of a node: the ring in equal parts, its nodes taking turns.

    Given, not drawn by chance, so that data lies in the same places each time, evenly, and so
    that nodes may start at the same time.
    """
    count = nodes * NUM_TOKENS
    return [-(2**63) + (turn * nodes + index) * 2**64 // count for turn in range(NUM_TOKENS)]
