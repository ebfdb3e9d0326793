"""Google Drive as an archive of few large verified files, and one zip to download.

Work happens on the local disk. `stage` brings a corpus from Drive once, `publish` sends results
there and checks every copy, `download` makes one zip. Drive may be refused, missing or lost at any
moment: that costs a sentence, never a result.
"""

from colab_utils.drive.archives import ArchiveError, make_zip
from colab_utils.drive.downloading import download
from colab_utils.drive.mounting import mount_drive
from colab_utils.drive.publishing import publish
from colab_utils.drive.staging import stage
from colab_utils.drive.workspace import open_workspace, results_folder

__all__ = [
    "ArchiveError",
    "download",
    "make_zip",
    "mount_drive",
    "open_workspace",
    "publish",
    "results_folder",
    "stage",
]
