"""`fivefold manifests`: what runs a project's endpoints on Kubernetes, as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    app.command(rich_help_panel="Use")(manifests)


def manifests(
    image: Annotated[str, typer.Option("--image", help="The image that pods run; --out writes its Dockerfile.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for all files; the manifests are printed, when left out.")
    ] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", help="Serve this one (repeatable); all by default.")
    ] = None,
    replicas: Annotated[
        str, typer.Option("--replicas", metavar="N|N-M", help="Pods; of N-M as many as the load needs.")
    ] = "2-4",
    cpu: Annotated[str, typer.Option("--cpu", help="What a pod asks for, such as 500m.")] = "1",
    memory: Annotated[str, typer.Option("--memory", help="What a pod asks for, and may use at most.")] = "1Gi",
    grpc: Annotated[bool, typer.Option("--grpc", help="Answer gRPC too, on port 8001.")] = False,
    tls_secret: Annotated[
        str, typer.Option("--tls-secret", help="A Secret with tls.crt and tls.key: pods serve with TLS.")
    ] = "",
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Write what runs the endpoints on Kubernetes: Deployment, Service, autoscaler and so on, and KServe's way of it.

    Nothing is applied and no store is asked. Secrets are referred to, by the names that `env:NAME` in fivefold.toml
    gives them. An environment whose stores only one machine can reach is refused. docs/beyond_one_machine.md says how
    to go on.
    """
    from fivefold.realtime.kubernetes import image as images
    from fivefold.realtime.kubernetes.objects import inference_service, objects, settings_map
    from fivefold.realtime.kubernetes.reading import read_wanted
    from fivefold.realtime.kubernetes.scaling import adapter_rules
    from fivefold.realtime.kubernetes.text import documents, yaml

    wanted, unknown = read_wanted(
        project,
        env,
        image=image,
        endpoints=endpoint or [],
        replicas=replicas,
        cpu=cpu,
        memory=memory,
        grpc=grpc,
        tls_secret=tls_secret,
    )
    for what in unknown:
        print(f"warning: {what} is in a Secret: see that every machine reaches it.", file=sys.stderr)
    made, kserve = objects(wanted), [settings_map(wanted), inference_service(wanted)]
    if json:
        emit(
            {
                "objects": made,
                "kserve": kserve,
                "prometheus_adapter": adapter_rules(wanted),
                "dockerfile": images.dockerfile(wanted),
            }
        )
    files = {
        "kubernetes.yaml": documents(made),
        "kserve.yaml": documents(kserve),
        "prometheus-adapter.yaml": yaml(adapter_rules(wanted)),
        "Dockerfile": images.dockerfile(wanted),
        "Dockerfile.dockerignore": images.DOCKERIGNORE,
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text)
        if not json:
            _introduce(out, wanted.name, wanted.image, wanted.secrets)
    elif not json:
        print(files["kubernetes.yaml"], end="")


def _introduce(out: Path, name: str, image: str, secrets: tuple[str, ...]) -> None:
    print(f"written to {out}. Then, from the project's folder:")
    print(f"  docker build -f {out / 'Dockerfile'} -t {image} . && docker push {image}")
    if secrets:
        literals = " ".join(f'--from-literal={s}="${s}"' for s in secrets)
        print(f"  kubectl create secret generic {name}-secrets {literals}")
    print(f"  kubectl apply -f {out / 'kubernetes.yaml'}        # or kserve.yaml, where KServe is installed")
