"""Networks as settings name them: addresses and networks in, the same in plain form out."""

from ipaddress import ip_network

from groxy.settings.rules import read_words


def read_networks(value: object) -> tuple[str, ...]:
    """Return the networks in a comma list or an array, each once; ValueError for what is none."""
    return tuple(dict.fromkeys(_network(word) for word in read_words(value)))


def _network(word: str) -> str:
    try:
        return str(ip_network(word))
    except ValueError:
        message = f"{word!r} is no IP address and no network such as 10.0.0.0/8 or 2001:db8::/32"
        raise ValueError(message) from None
