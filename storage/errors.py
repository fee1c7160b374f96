"""What storage refuses, by name: each message says the value, the choices and the way out."""


class StoreError(Exception):
    """The store cannot do what was asked: it cannot be opened or written, or a name or shard does not exist."""


class UnbalancedError(StoreError):
    """The rows of a shard do not add up: rows in != kept + rejected + quarantined."""


class HeadMoved(StoreError):
    """Somebody else published in between: the dataset's head is not the expected version."""


class CertificateError(StoreError):
    """Rows to train on were published without a contamination certificate that covers exactly them."""
