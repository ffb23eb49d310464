"""A package's tarball straight from an npm registry, where no npm program is installed."""

import json
import os
import re
import urllib.parse
from pathlib import Path

from tedi.zoo import web
from tedi.zoo.transfer import Report, Unreachable


def download(package: str, folder: Path, report: Report) -> Path:
    """The tarball that "name@version" names, by the registry that the settings name.

    Settings are, the first to speak wins: `NPM_CONFIG_REGISTRY`; the `.npmrc` of the working
    folder; the user's (`NPM_CONFIG_USERCONFIG`, else `~/.npmrc`); `/etc/npmrc`. A registry given
    for the package's scope goes before the general one.

    Raises:
        Unreachable: no registry is set, or it did not answer with the package.
        OSError: the file cannot be written.
    """
    name, _, version = package.rpartition("@")
    settings = _settings()
    registry = settings.get(f"{name.partition('/')[0]}:registry") or settings.get("registry")
    if not registry:
        raise Unreachable("no npm was found and no registry is set; set NPM_CONFIG_REGISTRY")
    about = f"{registry.rstrip('/')}/{urllib.parse.quote(name, safe='@')}/{version}"
    tarball = _tarball(web.read(about, _credentials(about, settings)))
    part = folder / f"{name.rpartition('/')[2]}-{version}.tgz"
    web.download(tarball, part, report, _credentials(tarball, settings))
    return part


def _tarball(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["dist"]["tarball"])
    except (ValueError, LookupError, TypeError) as error:
        raise Unreachable("the registry's answer names no tarball") from error


def _settings() -> dict[str, str]:
    user = _variable("NPM_CONFIG_USERCONFIG")
    files = (Path("/etc/npmrc"), Path(user) if user else Path.home() / ".npmrc", Path(".npmrc"))
    settings: dict[str, str] = {}
    for file in files:
        if file.is_file():
            settings.update(_parsed(file.read_text(encoding="utf-8")))
    if registry := _variable("NPM_CONFIG_REGISTRY"):
        settings["registry"] = registry
    return settings


def _variable(name: str) -> str | None:
    return os.environ.get(name) or os.environ.get(name.lower())


def _parsed(text: str) -> dict[str, str]:
    """`key = value` lines, with ${VARIABLE} filled in."""
    filled = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], ""), text)
    lines = (line.strip() for line in filled.splitlines())
    pairs = (line.partition("=") for line in lines if line and line[0] not in ";#")
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _credentials(url: str, settings: dict[str, str]) -> dict[str, str]:
    """Header for the nearest folder of this URL that has a token: `//host/path/:_authToken`."""
    parts = urllib.parse.urlsplit(url)
    path = parts.path
    while path:
        path = path.rpartition("/")[0]
        for field, scheme in (("_authToken", "Bearer"), ("_auth", "Basic")):
            if value := settings.get(f"//{parts.netloc}{path}/:{field}"):
                return {"Authorization": f"{scheme} {value}"}
    return {}
