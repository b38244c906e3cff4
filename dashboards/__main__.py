"""``python -m dashboards``: write the JSON that git holds."""

from dashboards.pages import FOLDER, PAGES, as_json


def main() -> None:
    """Write every page to where kustomize takes it from."""
    for name, page in PAGES.items():
        (FOLDER / f"{name}.json").write_text(as_json(page()), encoding="utf-8")


if __name__ == "__main__":
    main()
