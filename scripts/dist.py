"""Packs dist/portcullis.wasm for a release, without a container engine, and the same way every time:

    portcullis.oci.tar   an OCI image of one layer with /plugin.wasm, as Istio and Envoy Gateway pull it (`skopeo copy oci-archive:`)
    portcullis.cdx.json  what is linked into the plugin, as CycloneDX
    SHA256SUMS           of the three

and reads the image back. Prints the image's digest.
"""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tomllib
import uuid
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
TARGET = "wasm32-wasip1"
# https://github.com/opencontainers/image-spec; with these, Istio takes the image for the "compat" form of its Wasm images
# and requires one layer (istio/pkg/wasm/imagefetcher.go, extractOCIStandardImage).
MEDIA = "application/vnd.oci.image."
LAYER, CONFIG, MANIFEST, INDEX = (MEDIA + kind for kind in ("layer.v1.tar+gzip", "config.v1+json", "manifest.v1+json", "index.v1+json"))


class Wrong(Exception):
    """What is wrong with a package, in words for whoever made it."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def text(document) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def archive(files: dict[str, bytes]) -> bytes:
    """A tar of these files and nothing of this machine: no time, no owner."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def image(wasm: bytes, package: dict) -> tuple[bytes, str]:
    """An OCI image layout in a tar, and the digest of the image in it."""
    unpacked = archive({"plugin.wasm": wasm})
    # mtime 0 leaves the time out of the header.
    layer = gzip.compress(unpacked, compresslevel=9, mtime=0)
    config = text({
        "architecture": "wasm",
        "os": "wasip1",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(unpacked)}"]},
    })
    blobs = {}

    def blob(media: str, content: bytes, **more) -> dict:
        blobs[f"blobs/sha256/{sha256(content)}"] = content
        return {"mediaType": media, "digest": f"sha256:{sha256(content)}", "size": len(content), **more}

    manifest = blob(MANIFEST, text({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(CONFIG, config),
        "layers": [blob(LAYER, layer)],
        "annotations": {
            "org.opencontainers.image.title": package["name"],
            "org.opencontainers.image.description": package["description"],
            "org.opencontainers.image.licenses": package["license"],
            "org.opencontainers.image.source": package["repository"],
            "org.opencontainers.image.version": package["version"],
        },
    }), annotations={"org.opencontainers.image.ref.name": package["version"]})
    index = text({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]})
    files = {"oci-layout": text({"imageLayoutVersion": "1.0.0"}), "index.json": index, **dict(sorted(blobs.items()))}
    return archive(files), manifest["digest"]


def module_of(packed: bytes) -> bytes:
    """The module in an image, found as those do who pull it; every digest and size on the way is checked."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar.getmembers()}

    def blob(descriptor: dict, media: str) -> bytes:
        algorithm, digest = descriptor["digest"].split(":")
        content = files[f"blobs/{algorithm}/{digest}"]
        if (descriptor["mediaType"], digest, descriptor["size"]) != (media, sha256(content), len(content)):
            raise Wrong(f"{descriptor} isn't what the image holds")
        return content

    [manifest] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(manifest, MANIFEST))
    [layer] = manifest["layers"]
    unpacked = gzip.decompress(blob(layer, LAYER))
    if json.loads(blob(manifest["config"], CONFIG))["rootfs"]["diff_ids"] != [f"sha256:{sha256(unpacked)}"]:
        raise Wrong("the image's configuration is of another layer")
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        [entry] = tar.getmembers()
        if entry.name != "plugin.wasm" or not entry.isfile():
            raise Wrong(f"the layer holds {entry.name}")
        return tar.extractfile(entry).read()


def linked(metadata: dict) -> dict[str, list[str]]:
    """What is linked into the plugin, and what each of it needs, by Cargo's ids. Macros and build scripts run at build only."""
    kinds = {package["id"]: {kind for target in package["targets"] for kind in target["kind"]} for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, todo = {}, [metadata["resolve"]["root"]]
    while todo:
        package = todo.pop()
        if package not in found:
            found[package] = [
                each["pkg"]
                for each in nodes[package]["deps"]
                if any(kind["kind"] is None for kind in each["dep_kinds"]) and "proc-macro" not in kinds[each["pkg"]]
            ]
            todo += found[package]
    return found


def bill(metadata: dict, rust: str, wasm: bytes) -> bytes:
    """The software bill of materials."""
    packages = {package["id"]: package for package in metadata["packages"]}
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(each["name"], each["version"]): each.get("checksum") for each in locked}
    needs = linked(metadata)

    def component(package: dict, kind: ComponentType, digest: str | None) -> Component:
        name, version = package["name"], package["version"]
        return Component(
            name=name,
            version=version,
            type=kind,
            bom_ref=f"{name}@{version}",
            purl=PackageURL("cargo", name=name, version=version),
            licenses=[LicenseExpression(package["license"].replace("/", " OR "))] if package["license"] else [],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else [],
        )

    root = metadata["resolve"]["root"]
    components = {
        id: component(packages[id], ComponentType.LIBRARY, checksums[packages[id]["name"], packages[id]["version"]])
        for id in needs
        if id != root
    }
    components[root] = component(packages[root], ComponentType.APPLICATION, sha256(wasm))
    std = Component(name="std", version=rust, type=ComponentType.LIBRARY, bom_ref=f"std@{rust}", purl=PackageURL("generic", name="rust-std", version=rust))
    bom = Bom(
        # The same bill for the same plugin: its name is made of it, and it has no time.
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{packages[root]['repository']}#{sha256(wasm)}"),
        components=[std, *(component for id, component in components.items() if id != root)],
    )
    bom.metadata.timestamp = None
    bom.metadata.component = components[root]
    for id, below in needs.items():
        bom.register_dependency(components[id], [*(components[each] for each in below), *([std] if id == root else [])])
    written = JsonV1Dot6(bom).output_as_string(indent=2)
    if mistake := JsonStrictValidator(SchemaVersion.V1_6).validate_str(written):
        raise Wrong(f"the bill of materials isn't CycloneDX: {mistake}")
    return written.encode() + b"\n"


def cargo() -> tuple[dict, str]:
    """What Cargo knows of the plugin's dependencies, and the version of Rust."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    metadata = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    version = subprocess.run(["rustc", "--version"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(metadata), version.split()[1]


def main() -> None:
    dist = ROOT / "dist"
    wasm = (dist / "portcullis.wasm").read_bytes()
    metadata, rust = cargo()
    root = next(package for package in metadata["packages"] if package["id"] == metadata["resolve"]["root"])

    packed, digest = image(wasm, root)
    described = bill(metadata, rust, wasm)
    if module_of(packed) != wasm:
        raise Wrong("the image holds another module")
    if (packed, digest, described) != (*image(wasm, root), bill(metadata, rust, wasm)):
        raise Wrong("packing twice gives different bytes")
    if f"{Path.home()}/".encode() in wasm:
        raise Wrong("the module names files of this machine")

    files = {"portcullis.wasm": wasm, "portcullis.oci.tar": packed, "portcullis.cdx.json": described}
    for name, content in files.items():
        if content is not wasm:
            (dist / name).write_bytes(content)
    (dist / "SHA256SUMS").write_text("".join(f"{sha256(content)}  {name}\n" for name, content in files.items()))
    for name, content in files.items():
        print(f"dist/{name}: {len(content):,} bytes, sha256 {sha256(content)}")
    print(f"{len(json.loads(described)['components'])} components are linked into the plugin")
    print(f"image {root['name']}:{root['version']}@{digest}")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(str(wrong))
