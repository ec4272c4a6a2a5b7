"""Why a job goes where it goes: the dispatcher's own rules, asked from outside."""
