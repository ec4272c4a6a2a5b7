"""Language codes: sessions say "es" or "es-MX"; tools say "spa"."""

ISO_639_3 = {
    "ar": "ara", "bg": "bul", "ca": "cat", "cy": "cym", "da": "dan", "de": "deu", "en": "eng",
    "eo": "epo", "es": "spa", "eu": "eus", "fr": "fra", "gl": "glg", "hi": "hin", "id": "ind",
    "is": "isl", "it": "ita", "kk": "kaz", "mk": "mkd", "ms": "msa", "mt": "mlt", "nb": "nob",
    "nl": "nld", "nn": "nno", "oc": "oci", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus",
    "sc": "srd", "sl": "slv", "sv": "swe", "tr": "tur", "tt": "tat", "uk": "ukr", "ur": "urd",
}  # fmt: skip


def primary(code: str) -> str:
    """Return the language without script and region: "es" of "es-MX" or "es_MX"."""
    return code.replace("_", "-").split("-", 1)[0].lower()


def three_letters(code: str) -> str:
    """Return the ISO 639-3 code; one that is not in the table is returned as it is."""
    language = primary(code)
    return ISO_639_3.get(language, language)
