"""The token that goes to the Hub, looked at before it becomes a header."""

from __future__ import annotations

from collections.abc import Callable

from vlm_inspect.errors import TokenError


def token_to_send(stated: str | None) -> str | None:
    """The stated token, else the one that huggingface_hub would send by itself.

    One that cannot be a header is refused here: the transport would say so with the token in its message.
    """
    from huggingface_hub import constants, get_token

    if stated is None and constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    token = (_kept(get_token) if stated is None else stated.strip()) or None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise TokenError(
            "The token for the Hub holds characters that no token has.",
            hint="Copy it again from the Hub's settings: hf auth login, or HF_TOKEN, or --token",
        )
    return token


def _kept(get_token: Callable[[], str | None]) -> str | None:
    """The token of the environment or of a login, whose file another user may have written."""
    try:
        return get_token()
    except OSError as error:
        raise TokenError(
            f"The file of the token for the Hub cannot be read: {error.filename}: {error.strerror}.",
            hint="Let it be read, or name another folder for it: HF_HOME. HF_TOKEN and --token need none.",
        ) from error
