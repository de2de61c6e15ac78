"""Where a connection's options come from, what is refused, and a real one with password and TLS."""

from __future__ import annotations

import logging
import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from concurrent_exec.cli import main
from concurrent_exec.cluster import LocalCassandra
from concurrent_exec.connect import (
    KEYS,
    ConfigurationError,
    ConnectionOptions,
    connect,
    parse_contact_points,
)

SECRET = "s3cr3t-%-word"


def options(**environment: str) -> ConnectionOptions:
    """The options of an environment, its names without prefix and in lower case."""
    named = {f"CONCURRENT_EXEC_{key.upper()}": value for key, value in environment.items()}
    return ConnectionOptions.from_environment(named)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's key store for localhost, with its certificate beside it in ca.pem."""
    folder = tmp_path_factory.mktemp("tls")
    home = os.environ.get("JAVA_HOME")
    keytool = Path(home, "bin", "keytool") if home else shutil.which("keytool")
    assert keytool is not None, "keytool is part of the JDK"
    store = ["-keystore", "store.p12", "-storetype", "PKCS12", "-storepass", "changeit"]
    key = ["-genkeypair", "-alias", "node", "-keyalg", "EC", "-dname", "CN=localhost"]
    names = ["-ext", "san=dns:localhost", "-validity", "30"]
    for arguments in (
        [*key, *names],
        ["-exportcert", "-rfc", "-alias", "node", "-file", "ca.pem"],
    ):
        subprocess.run([keytool, *arguments, *store], cwd=folder, check=True, capture_output=True)
    return folder


class TestContactPoints:
    @pytest.mark.parametrize(
        ("text", "hosts", "port"),
        [
            ("db1", ("db1",), 9042),
            ("db1:9142", ("db1",), 9142),
            ("10.0.0.1, 10.0.0.2", ("10.0.0.1", "10.0.0.2"), 9042),
            ("a.example:19042,b.example:19042", ("a.example", "b.example"), 19042),
            ("[::1]", ("::1",), 9042),
            ("[2001:db8::7]:9142,[2001:db8::8]:9142", ("2001:db8::7", "2001:db8::8"), 9142),
            ("a:9042,b", ("a", "b"), 9042),
        ],
    )
    def test_right(self, text: str, hosts: tuple[str, ...], port: int) -> None:
        assert parse_contact_points(text) == (hosts, port)
        made = options(contact_points=text)
        assert (made.contact_points, made.port) == (hosts, port)

    @pytest.mark.parametrize(
        "text",
        [
            " ",
            ",",
            "a,,b",
            "a:",
            ":9042",
            "a:0",
            "a:65536",
            "a:x",
            "a:-1",
            "a:\uff19",
            "::1",
            "[::1",
            "[]",
            "[::1]9042",
            "a b",
            "http://a",
        ],
    )
    def test_wrong(self, text: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            options(contact_points=text)
        message = str(caught.value)
        assert message.startswith("CONCURRENT_EXEC_CONTACT_POINTS must be ")
        assert "IPv6 addresses in brackets" in message
        assert "\n" not in message

    def test_two_ports(self) -> None:
        with pytest.raises(ConfigurationError, match=r"one port for all .* not 9042, 9142"):
            options(contact_points="a:9142,b")

    def test_a_url_with_a_password_is_not_repeated(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            options(contact_points=f"me:{SECRET}@host")
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("wrong", ["127.0.0.1", ()])
    def test_given_directly(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="contact_points must be a tuple"):
            ConnectionOptions(contact_points=wrong)


class TestSources:
    def test_nothing(self) -> None:
        assert options() == ConnectionOptions()
        assert options().contact_points == ("127.0.0.1",)
        assert not options().tls
        assert options().ssl_context() is None

    def test_the_process_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for key in (*KEYS, "config"):
            monkeypatch.delenv(f"CONCURRENT_EXEC_{key.upper()}", raising=False)
        monkeypatch.setenv("CONCURRENT_EXEC_CONTACT_POINTS", "there")
        assert ConnectionOptions.from_environment().contact_points == ("there",)

    def test_empty_is_not_set(self) -> None:
        assert options(contact_points="", username="", tls="", config="") == ConnectionOptions()

    def test_environment(self, tmp_path: Path) -> None:
        ca = tmp_path / "ca.pem"
        ca.write_text("")
        made = options(
            contact_points="a", local_dc="east", username="me", password=SECRET, tls_ca=str(ca)
        )
        assert made == ConnectionOptions(
            contact_points=("a",),
            local_dc="east",
            username="me",
            password=SECRET,
            tls=True,
            tls_ca=ca,
        )

    def test_file(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("")
        (tmp_path / "word").write_text(f"{SECRET}\n")
        file = tmp_path / "connection.ini"
        file.write_text(
            "[connection]\n"
            "contact_points = a:9142\n"
            "username = me\n"
            "password_file = word\n"
            "tls_ca = ca.pem\n"
            "tls_check_hostname = no\n"
        )
        assert options(config=str(file)) == ConnectionOptions(
            contact_points=("a",),
            port=9142,
            username="me",
            password=SECRET,
            tls=True,
            tls_ca=tmp_path / "ca.pem",
            tls_check_hostname=False,
        )

    def test_a_password_with_a_percent_sign_in_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "connection.ini"
        file.write_text(f"[connection]\nusername = me\npassword = {SECRET}\n")
        assert options(config=str(file)).password == SECRET

    def test_precedence(self, tmp_path: Path) -> None:
        file = tmp_path / "connection.ini"
        file.write_text(
            "[connection]\ncontact_points = file\nlocal_dc = file\nusername = file\npassword = x\n"
        )
        made = ConnectionOptions.from_environment(
            {"CONCURRENT_EXEC_CONTACT_POINTS": "env", "CONCURRENT_EXEC_LOCAL_DC": "env"},
            config=file,
            contact_points="argument",
            local_dc=None,
        )
        assert (made.contact_points, made.local_dc, made.username) == (("argument",), "env", "file")

    def test_a_password_file_of_the_environment_comes_before_a_password_of_the_file(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "word").write_text(SECRET)
        file = tmp_path / "connection.ini"
        file.write_text("[connection]\nusername = me\npassword = other\n")
        made = options(config=str(file), password_file=str(tmp_path / "word"))
        assert made.password == SECRET

    def test_unknown_argument(self) -> None:
        with pytest.raises(TypeError, match="unknown options: hosts"):
            ConnectionOptions.from_environment({}, hosts="a")


class TestFile:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", r"must have a section \[connection\]"),
            ("[other]\n", r"must have a section \[connection\]"),
            (f"password = {SECRET}\n", r", line 1: must be an INI file"),
            (f"[connection]\nusername = me\n{SECRET}\n", "must be an INI file"),
            ("[connection]\ntls = 1\ntls = 0\n", ", line 3: must be an INI file"),
            ("[connection]\npasword = x\n", "unknown keys: pasword; allowed: contact_points, "),
            ("[connection]\ntls = maybe\n", "tls in .*connection.ini must be"),
        ],
    )
    def test_wrong(self, tmp_path: Path, text: str, message: str) -> None:
        file = tmp_path / "connection.ini"
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=message) as caught:
            options(config=str(file))
        assert SECRET not in str(caught.value)
        assert SECRET not in str(caught.value.__cause__)

    def test_not_text(self, tmp_path: Path) -> None:
        file = tmp_path / "connection.ini"
        file.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigurationError, match="must be an INI file"):
            options(config=str(file))

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="CONCURRENT_EXEC_CONFIG must name a file"):
            options(config=str(tmp_path / "none"))


class TestPassword:
    def test_is_in_no_repr(self) -> None:
        made = options(username="me", password=SECRET)
        assert made.password == SECRET
        assert SECRET not in repr(made)
        assert SECRET not in str(made)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"username": "me"}, "a username is given without a password"),
            ({"password": SECRET}, "a password is given without a username"),
        ],
    )
    def test_needs_a_user_and_the_reverse(self, given: dict[str, str], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message) as caught:
            options(**given)
        assert SECRET not in str(caught.value)

    def test_twice(self, tmp_path: Path) -> None:
        with pytest.raises(
            ConfigurationError,
            match="CONCURRENT_EXEC_PASSWORD or CONCURRENT_EXEC_PASSWORD_FILE, not both",
        ) as caught:
            options(username="me", password=SECRET, password_file="x")
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n"])
    def test_file(self, tmp_path: Path, content: str) -> None:
        file = tmp_path / "word"
        file.write_bytes(content.encode())
        assert options(username="me", password_file=str(file)).password == SECRET

    @pytest.mark.parametrize("content", [b"", b"\n", f"{SECRET}\nmore\n".encode(), b"\xff\xff"])
    def test_wrong_file(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "word"
        file.write_bytes(content)
        with pytest.raises(ConfigurationError, match="PASSWORD_FILE must name a file") as caught:
            options(username="me", password_file=str(file))
        assert SECRET not in str(caught.value)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="PASSWORD_FILE must name a file that can"):
            options(username="me", password_file=str(tmp_path / "none"))


class TestTls:
    @pytest.mark.parametrize(
        ("text", "on"), [("1", True), ("0", False), ("TRUE", True), ("no", False)]
    )
    def test_switch(self, text: str, on: bool) -> None:
        assert options(tls=text).tls is on

    @pytest.mark.parametrize("key", ["tls", "tls_check_hostname"])
    def test_wrong_switch(self, key: str) -> None:
        with pytest.raises(ConfigurationError, match=f'{key.upper()} must be "1" or "0", not'):
            options(**{key: "on?"})

    def test_off_wins_over_its_other_options(self, tmp_path: Path) -> None:
        ca = tmp_path / "ca.pem"
        ca.write_text("")
        assert not options(tls="0", tls_ca=str(ca)).tls

    @pytest.mark.parametrize("key", ["tls_ca", "tls_cert"])
    def test_what_is_about_tls_goes_with_it(self, tmp_path: Path, key: str) -> None:
        """Else whoever gives a certificate would talk in the clear, and not know it."""
        given: Any = {key: tmp_path / "file.pem"}
        with pytest.raises(ConfigurationError, match="give tls=True"):
            ConnectionOptions(**given)
        assert ConnectionOptions(tls=True, **given).tls

    def test_verifies_by_default(self) -> None:
        context = options(tls="1").ssl_context()
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    def test_without_the_host_name_certificates_are_still_verified(self) -> None:
        context = options(tls="1", tls_check_hostname="0").ssl_context()
        assert context is not None
        assert not context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    @pytest.mark.parametrize("key", ["tls_ca", "tls_cert", "tls_key"])
    def test_missing_file(self, tmp_path: Path, key: str) -> None:
        with pytest.raises(ConfigurationError, match=f"{key.upper()} must be a file, not"):
            options(**{key: str(tmp_path / "none")})

    def test_a_key_without_its_certificate(self, tmp_path: Path) -> None:
        key = tmp_path / "key.pem"
        key.write_text("")
        with pytest.raises(ConfigurationError, match="tls_key needs tls_cert"):
            options(tls_key=str(key))

    def test_files_that_hold_something_else(self, tmp_path: Path) -> None:
        file = tmp_path / "file.pem"
        file.write_text("no certificate")
        with pytest.raises(ConfigurationError, match=r"tls_ca must be .*file\.pem"):
            options(tls_ca=str(file)).ssl_context()
        with pytest.raises(ConfigurationError, match=r"tls_cert and tls_key must .*file\.pem"):
            options(tls_cert=str(file)).ssl_context()

    def test_an_encrypted_key_does_not_ask_on_the_terminal(
        self, tmp_path: Path, certificate: Path
    ) -> None:
        file = tmp_path / "key.pem"
        # Only its head is read before OpenSSL asks for the password.
        body = "\n".join(["A" * 64] * 4)
        file.write_text(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
            f"DEK-Info: AES-256-CBC,{'0' * 32}\n\n{body}\n-----END RSA PRIVATE KEY-----\n"
        )
        with pytest.raises(ConfigurationError, match="tls_key must not be encrypted"):
            options(tls_cert=str(certificate / "ca.pem"), tls_key=str(file)).ssl_context()


def test_configuration_is_checked_before_connecting(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(ConfigurationError), connect(ConnectionOptions(tls=True, tls_ca=file)):
        pass


class TestCqlshrc:
    def test_hosts_login_and_tls(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").touch()
        (tmp_path / "login").write_text("[PlainTextAuthProvider]\nusername = me\npassword = 5%x\n")
        file = tmp_path / "cqlshrc"
        file.write_text(
            "[authentication]\ncredentials = login\n"
            "[connection]\nhostname = db.example\nport = 9142\nssl = true\n"
            "[ssl]\ncertfile = ca.pem\nvalidate = true\n[ui]\ncolor = on\n"
        )
        made = ConnectionOptions.from_environment({}, cqlshrc=file)
        assert made == ConnectionOptions(
            contact_points=("db.example",),
            port=9142,
            username="me",
            password="5%x",
            tls=True,
            tls_ca=tmp_path / "ca.pem",
        )
        # All else comes before it.
        made = ConnectionOptions.from_environment(
            {"CONCURRENT_EXEC_USERNAME": "you"}, cqlshrc=file, contact_points="[::1]"
        )
        assert (made.contact_points, made.port, made.username) == (("::1",), 9042, "you")

    def test_a_login_in_the_file_itself_and_a_host_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "cqlshrc"
        file.write_text(
            "[authentication]\nusername = me\npassword = 5%x\n"
            "[connection]\nhostname = ::1\nport =\n"
        )
        made = ConnectionOptions.from_environment({}, cqlshrc=file)
        assert made == ConnectionOptions(("::1",), username="me", password="5%x")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[ssl]\nvalidate = false\n", "verification"),
            (f"{SECRET}\n", "INI file"),
            ("[authentication]\ncredentials = none\n", "can't be read"),
            ("[authentication]\ncredentials = cqlshrc\n", "must have a section"),
        ],
    )
    def test_what_it_can_not_have(self, tmp_path: Path, text: str, problem: str) -> None:
        file = tmp_path / "cqlshrc"
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=problem) as caught:
            ConnectionOptions.from_environment({}, cqlshrc=file)
        assert SECRET not in str(caught.value)


class TestSecureConnectBundle:
    def test_the_driver_has_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is handed on, in place of contact points and TLS."""
        bundle = tmp_path / "bundle.zip"
        bundle.touch()
        made = ConnectionOptions.from_environment({}, secure_connect_bundle=str(bundle))
        given: dict[str, Any] = {}

        class Cluster:
            def __init__(self, **arguments: Any) -> None:
                given.update(arguments)

            def connect(self, keyspace: str | None) -> None: ...

            def shutdown(self) -> None: ...

        monkeypatch.setattr("cassandra.cluster.Cluster", Cluster)
        with connect(made):
            pass
        assert given["cloud"] == {"secure_connect_bundle": str(bundle)}
        assert not {"contact_points", "port", "ssl_context"} & set(given)

    def test_what_does_not_go_with_it(self, tmp_path: Path) -> None:
        for other in ({"contact_points": ("a",)}, {"tls": True}):
            with pytest.raises(ConfigurationError, match="secure_connect_bundle"):
                ConnectionOptions(secure_connect_bundle=tmp_path, **other)


@pytest.mark.cluster
def test_real_with_password_and_tls(
    certificate: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A cluster that asks for both; right and wrong ones of each."""
    from cassandra.cluster import NoHostAvailable

    number = os.getpid()
    settings = {
        "authenticator": "PasswordAuthenticator",
        "client_encryption_options": {
            "enabled": True,
            "optional": True,  # so that the plain question whether it answers has an answer
            "keystore": str(certificate / "store.p12"),
            "keystore_password": "changeit",
            "store_type": "PKCS12",
        },
    }
    with LocalCassandra(
        port=9242,
        first_address=f"127.{100 + number % 100}.{number // 100 % 250}.1",
        heap="512M",
        settings=settings,
    ) as cassandra:
        right = ConnectionOptions(
            contact_points=tuple(cassandra.contact_points),
            port=cassandra.port,
            username="cassandra",
            password="cassandra",
            tls=True,
            tls_ca=certificate / "ca.pem",
            tls_check_hostname=False,  # the certificate names localhost, not this address
        )
        _wait_for_the_first_user(right)
        caplog.clear()
        with caplog.at_level(logging.WARNING), connect(right, keyspace="system") as session:
            row = session.execute("SELECT release_version FROM local").one()
            assert row.release_version == "5.0.6"
            assert session.keyspace == "system"
        assert session.cluster.is_shutdown
        warnings = [record.getMessage() for record in caplog.records]
        assert warnings == []
        for wrong in (
            {"password": SECRET},
            {"tls_check_hostname": True},
            {"tls_ca": None},
            {"username": None, "password": None},
        ):
            changed = ConnectionOptions(**{**_as_dict(right), **wrong})
            with pytest.raises(NoHostAvailable) as caught, connect(changed):
                pass
            assert SECRET not in str(caught.value)
        assert SECRET not in caplog.text
        check_what_the_command_says(cassandra, certificate, tmp_path, capfd)
        # The same from the environment.
        monkeypatch.setenv(
            "CONCURRENT_EXEC_CONTACT_POINTS", f"{cassandra.contact_points[0]}:{cassandra.port}"
        )
        monkeypatch.setenv("CONCURRENT_EXEC_USERNAME", "cassandra")
        monkeypatch.setenv("CONCURRENT_EXEC_PASSWORD", "cassandra")
        with connect() as session:
            assert session.execute("SELECT key FROM system.local").one().key == "local"


def check_what_the_command_says(
    cassandra: LocalCassandra, certificate: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong password is told of in one line."""
    (folder / "password").write_text("wrong")
    (folder / "ids.csv").write_text("id\n1\n")
    status = main(
        [
            *("run", "INSERT INTO app.t (id) VALUES (:id)", str(folder / "ids.csv")),
            *("--contact-points", f"{cassandra.contact_points[0]}:{cassandra.port}"),
            *("--username", "cassandra", "--password-file", str(folder / "password")),
            *("--tls-ca", str(certificate / "ca.pem"), "--no-tls-check-hostname"),
        ]
    )
    told = capfd.readouterr().err
    assert status == 1
    assert len(told.splitlines()) == 1, told
    assert "credentials" in told or "password" in told
    assert sorted(path.name for path in folder.iterdir()) == ["ids.csv", "password"]


def _as_dict(made: ConnectionOptions) -> dict[str, Any]:
    return {name: getattr(made, name) for name in made.__dataclass_fields__}


def _wait_for_the_first_user(right: ConnectionOptions) -> None:
    """Cassandra makes its first user only after it has begun to answer."""
    from cassandra.cluster import NoHostAvailable

    deadline = time.monotonic() + 60
    while True:
        try:
            with connect(right):
                return
        except NoHostAvailable:
            assert time.monotonic() < deadline, "the user never came"
            time.sleep(0.2)
