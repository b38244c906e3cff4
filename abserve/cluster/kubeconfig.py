"""The kubeconfig by which kubectl, and every other client, finds the local cluster."""

import base64

import yaml


def kubeconfig(api_url: str, certificate: bytes, token: str) -> bytes:
    """Return a kubeconfig for the API at `api_url`.

    Parameters
    ----------
    api_url : str
        ``https://127.0.0.1:<port>``.
    certificate : bytes
        The API's certificate, PEM.
    token : str
        What the API asks of each request.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "abserve",
        "clusters": [
            {
                "name": "abserve",
                "cluster": {
                    "server": api_url,
                    "certificate-authority-data": base64.b64encode(certificate).decode(),
                },
            }
        ],
        "users": [{"name": "abserve", "user": {"token": token}}],
        "contexts": [
            {
                "name": "abserve",
                "context": {"cluster": "abserve", "user": "abserve", "namespace": "default"},
            }
        ],
    }
    return yaml.safe_dump(content, sort_keys=False).encode()
