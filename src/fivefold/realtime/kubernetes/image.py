"""The Dockerfile of the image that the manifests name."""

from __future__ import annotations

from fivefold import __version__
from fivefold.realtime.kubernetes.pod import APP, USER
from fivefold.realtime.kubernetes.wanted import HTTP_PORT, Wanted

DOCKERIGNORE = ".fivefold\n.git\n.venv\n__pycache__\n"


def dockerfile(wanted: Wanted) -> str:
    """Our package with the extras that the environment needs, and the project's folder."""
    extras = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
    return f"""\
FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
RUN pip install --no-cache-dir 'fivefold{extras}=={__version__}'
WORKDIR {APP}
COPY . {APP}
USER {USER}:{USER}
EXPOSE {HTTP_PORT}
ENTRYPOINT ["fivefold"]
"""
