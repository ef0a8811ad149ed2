"""Pictures and films: the parts that make, store and serve them, built from settings.

In: settings and the parts of text. Out: one value with all parts of media. It must not know routes.
"""

from dataclasses import dataclass

from groxy.api.media_chat import Forms, MediaChat
from groxy.gateway.film_jobs import FilmJobs
from groxy.gateway.filming import Filming
from groxy.gateway.footage import Footage
from groxy.gateway.making import Maker
from groxy.gateway.means import Means
from groxy.gateway.reel import KIND
from groxy.gateway.references import References
from groxy.gateway.results import Results
from groxy.jobs.worker import Worker
from groxy.media.fetch import Fetcher
from groxy.media.links import Links
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.routing.catalog import Catalog
from groxy.settings import Settings
from groxy.store.database import Database
from groxy.store.jobs import JobStore
from groxy.store.secrets import InstallationSecret

_MIB = 1024 * 1024


@dataclass(kw_only=True)
class Media:
    """See the module."""

    shelf: Shelf
    links: Links
    results: Results
    references: References
    maker: Maker
    chat: MediaChat
    films: FilmJobs
    worker: Worker
    jobs: JobStore
    forms: Forms

    def apply(self, settings: Settings) -> None:
        """Follow settings that changed while the gateway runs."""
        media = settings.media
        self.shelf.limits = limits_of(settings)
        self.links.app_url, self.links.ttl_s = settings.app.app_url, media.link_ttl_s
        self.results.max_image_bytes = self.references.max_image_bytes = media.max_image_bytes
        self.forms = forms_of(settings)


def media_of(
    settings: Settings,
    means: Means,
    catalog: Catalog,
    fetcher: Fetcher,
    database: Database,
    secret: InstallationSecret,
) -> Media:
    """Return the parts of media."""
    most = settings.media.max_image_bytes
    shelf = Shelf(settings.media.url.reveal(), settings.data_dir, database, limits_of(settings))
    links = Links(settings.app.app_url, secret, settings.media.link_ttl_s)
    results = Results(shelf, fetcher, max_image_bytes=most)
    references = References(shelf, links, fetcher, max_image_bytes=most)
    maker = Maker(means, results)
    jobs = JobStore(database, secret)
    filming = Filming(means, Footage(shelf, fetcher), database)
    worker = Worker(store=jobs, handlers={KIND: filming})
    films = FilmJobs(means, jobs, worker, filming, shelf)
    media = Media(
        shelf=shelf,
        links=links,
        results=results,
        references=references,
        maker=maker,
        chat=MediaChat(maker, references, links, catalog, lambda: media.forms, films),
        films=films,
        worker=worker,
        jobs=jobs,
        forms=forms_of(settings),
    )
    return media


def limits_of(settings: Settings) -> ShelfLimits:
    """Return what settings say of how much is stored."""
    media = settings.media
    return ShelfLimits(
        max_total_bytes={
            "image": media.image_max_mb * _MIB,
            "video": media.video_max_mb * _MIB,
            "file": media.file_max_mb * _MIB,
        },
        max_bytes={
            "image": media.max_image_bytes,
            "video": media.max_video_bytes,
            "file": media.max_file_bytes,
        },
        keep_days=media.keep_days,
    )


def forms_of(settings: Settings) -> Forms:
    """Return what settings say of how results are shown in texts."""
    features = settings.features
    return Forms(image=features.image_format, video=features.video_format)
