"""What the surroundings say about the network, checked before it is asked: certificates and proxies."""

import os
import ssl
from importlib.util import find_spec
from pathlib import Path
from urllib.request import getproxies

from stylize.errors import StylizeError


def check_network() -> None:
    """Raises StylizeError where a variable names certificates or a proxy that cannot be used."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file and not Path(file).is_file():
        raise StylizeError(f"SSL_CERT_FILE names {file}, which is no file; correct or unset it.")
    if file:
        try:
            ssl.create_default_context(cafile=file)
        except OSError:
            raise StylizeError(
                f"SSL_CERT_FILE names {file}, which holds no certificates; correct it."
            ) from None
    if folder and not any(Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise StylizeError(f"SSL_CERT_DIR names {folder}, which is no folder; correct or unset it.")
    for kind, address in getproxies().items():
        if address.lower().startswith("socks") and find_spec("socksio") is None:
            raise StylizeError(
                f"The proxy for {kind} is a SOCKS one ({kind.upper()}_PROXY), which needs the package "
                "socksio; install that beside stylize, or set an HTTP proxy."
            )
