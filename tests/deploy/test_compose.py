"""The compose file and the image give a container nothing that it does not need. No container is started."""

import fnmatch
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
SERVICES = COMPOSE["services"]
KNOWN = {  # keys of the compose specification that this file may use
    "image", "build", "user", "init", "restart", "stop_grace_period", "read_only", "tmpfs", "cap_drop", "security_opt",
    "mem_limit", "pids_limit", "env_file", "environment", "volumes", "logging", "command", "ports", "healthcheck",
    "network_mode", "depends_on",
}  # fmt: skip


def test_the_file_has_only_keys_that_compose_knows():
    assert set(COMPOSE) <= {"name", "services", "volumes"} | {key for key in COMPOSE if key.startswith("x-")}
    for name, service in SERVICES.items():
        assert set(service) <= KNOWN, name
        assert set(service["healthcheck"]) <= {"test", "interval", "timeout", "retries", "start_period"}, name
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        network = service.get("network_mode", "")
        assert not network or network.removeprefix("service:") in SERVICES, name


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_rights_and_a_read_only_system(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["stop_grace_period"] == "30s"
    assert int(service["user"].partition(":")[0]) >= 1_000
    assert not any("docker.sock" in volume or volume.startswith(("/", ".", "~")) for volume in service["volumes"])
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_health_asks_for_the_heartbeat_and_not_for_a_port_that_answers(name):
    program, flag, module, _ = SERVICES[name]["healthcheck"]["test"][1:]
    assert (program, flag, module) == ("python", "-m", "src.monitoring.health")


def test_the_doors_are_open_to_this_machine_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert sorted(ports) == ["127.0.0.1:3000:3000", "127.0.0.1:5000:5000"]


def test_no_secret_stands_in_the_file():
    text = (ROOT / "deploy/compose.yaml").read_text()
    assert not re.search(r"(?i)(key|secret|pin|token|password)\s*[:=]\s*\S", text)


def test_the_image_runs_as_nobody_of_importance_and_installs_by_hash():
    steps = [line.split(maxsplit=1) for line in re.findall(r"^[A-Z]+ .+", DOCKERFILE, re.MULTILINE)]
    assert [word for step, word in steps if step == "USER"] == ["trading"]
    assert [step for step, _ in steps].index("USER") < [step for step, _ in steps].index("CMD")
    (image,) = [word for step, word in steps if step == "FROM"]
    assert ":" in image
    assert not image.endswith(":latest")
    assert "RUN python scripts/install_packages.py requirements.txt" in DOCKERFILE
    assert "ADD " not in DOCKERFILE


def test_secrets_and_data_cannot_slip_into_the_image():
    rules = [line for line in (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in "#"]
    assert rules[0] == "*"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    for name in (".env", ".git", "trading_bot.db", "logs", "models", "state", "backups", "charts"):
        assert not any(fnmatch.fnmatch(name, rule) for rule in let_in), name
    copied = {
        word.rstrip("/") for line in re.findall(r"^COPY (.+)", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    }
    assert copied == set(let_in)
