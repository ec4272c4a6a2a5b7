"""The command that makes tokens. What it needs beyond click is imported inside it."""

import click


@click.group()
def token() -> None:
    """Make tokens with which clients and nodes prove who they are.

    \b
    Example:
      lingua-scheduler token new --name web-app
    """


@token.command()
@click.option("--name", default="peer", show_default=True, help="For operators: whose it is.")
@click.option("--tenant", default="", help="The one tenant that its sessions are for.")
@click.option("--node-id", default="", help="The one node that may register with it.")
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    help="Days until it expires; without it, never.",
)
def new(name: str, tenant: str, node_id: str, days: int | None) -> None:
    """Print a new token, and the line for the file that identity.*_tokens_path names.

    The token goes to the client or node and is not kept: only its hash is in the line. Standard
    output has nothing but these two lines.

    \b
    Examples:
      lingua-scheduler token new --name web-app --tenant acme --days 90
      lingua-scheduler token new --name rack-7 --node-id node-rack-7
    """
    import time

    from scheduler.identity import tokens
    from scheduler.identity.credentials import TokenEntry

    if tenant and node_id:
        raise click.UsageError("sessions have a tenant, nodes a node id; make a token for each")
    words = (
        ("--name", name, tokens.NAME_CHARS_MAX),
        ("--tenant", tenant or "none", tokens.TENANT_CHARS_MAX),
        ("--node-id", node_id or "none", tokens.NODE_ID_CHARS_MAX),
    )
    for option, text, chars_max in words:
        if not tokens.is_word(text, chars_max):
            raise click.BadParameter(
                f"must be one printable word of at most {chars_max} characters", param_hint=option
            )
    expires_s = round(time.time() + days * 86_400) if days is not None else 0
    made = tokens.new_token()
    digest = tokens.digest_of(made)
    click.echo("token, shown this once:", err=True)
    click.echo(made)
    click.echo(f"line for the file of {_setting(tenant, node_id)}:", err=True)
    click.echo(tokens.line_of(TokenEntry(name, digest, tenant, node_id, expires_s)))


def _setting(tenant: str, node_id: str) -> str:
    if node_id:
        return "identity.node_tokens_path"
    session = "identity.session_tokens_path"
    return session if tenant else f"{session}, or of identity.node_tokens_path"
