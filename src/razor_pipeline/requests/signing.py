"""Signatures of evidence folders: OpenSSF model-signing with an elliptic key that never leaves the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE = "signature.sig"


class SigningError(ValueError):
    """A key or a signature is not as it should be; the message says what to do."""


def make_keys(private: Path, public: Path) -> None:
    """A new P-256 key pair; the private key can be read by its owner alone. A missing public key is written again.

    Raises:
        SigningError: the keys exist already: with the key, old evidence would lose its signer.
    """
    if private.exists() and not public.exists():  # killed between the two, or the public one was lost
        public.parent.mkdir(parents=True, exist_ok=True)
        public.write_bytes(_public(_private(private)))
        return
    for path in (private, public):
        if path.exists():
            raise SigningError(
                f"{path} exists already; to rotate keys, name new files in requests.private_key and "
                "requests.public_key, and keep the old public key to check old evidence"
            )
    key = ec.generate_private_key(ec.SECP256R1())
    private.parent.mkdir(parents=True, exist_ok=True)
    public.parent.mkdir(parents=True, exist_ok=True)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    public.write_bytes(_public(key))


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def check_key(private: Path) -> None:
    """Refuse to begin where evidence could not be signed in the end.

    Raises:
        SigningError: the key is missing or is none.
    """
    if not private.is_file():
        raise SigningError(f"the signing key {private} does not exist; make one with `kedro unlearning key`")
    _private(private)


def _private(private: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise SigningError(f"{private} is no unencrypted private key in PEM ({error})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SigningError(f"{private} is no elliptic key; make one with `kedro unlearning key`")
    return key


def sign(folder: Path, private: Path) -> None:
    """Sign every file of a folder into ``signature.sig`` within it."""
    from model_signing import signing

    folder = folder.resolve()  # the library takes a relative path to be left out for one within the folder
    signature = folder / SIGNATURE
    config = signing.Config().use_elliptic_key_signer(private_key=private)
    config.set_hashing_config(_hashing(signature)).sign(folder, signature)


def verify(folder: Path, public: Path) -> None:
    """Check every file of a folder against its signature.

    Raises:
        SigningError: there is no signature, it is of another key, or a file was changed, added or removed.
    """
    from model_signing import verifying

    signature = folder / SIGNATURE
    if not signature.is_file():
        raise SigningError(f"{folder} has no {SIGNATURE}; it was removed, or this is no evidence folder")
    if not public.is_file():
        raise SigningError(f"the public key {public} does not exist; name the one of the signer")
    whole = folder.resolve()  # as in signing
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(_hashing(whole / SIGNATURE)).verify(whole, whole / SIGNATURE)
    # The library raises a dozen kinds, parsing errors of a spoilt signature among them.
    except Exception as error:
        raise SigningError(f"the signature of {folder} does not hold: {_first_line(error)}") from error


def _hashing(signature: Path) -> Any:
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
