"""The model repository: where versions live, outside of every machine that trains or serves.

::

    <url>/                      on a disk (file://) or an object store (s3://, gs://)
    └── iris/
        ├── v1/ v2/ ...         versions: folders that hold checksums.json
        └── .publishing/        claims: who is publishing or deleting which version right now

A version comes into being in one step. On a disk the finished folder is renamed into place; on an
object store, which has no rename, `checksums.json` is written last, and a folder without it is no
version. A training that dies half-way therefore leaves nothing that anyone would serve. Of two that
publish the same version, one has claimed it (`claims`). What is old and unused may go
(`retention`).
"""

from abserve.repository.repository import Repository, Stored
from abserve.repository.retention import Published, expired

__all__ = ["Published", "Repository", "Stored", "expired"]
