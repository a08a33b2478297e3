"""`deltaseal completion`: the script that lets a shell complete commands and flags."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import ArgumentInvalid
from cli.session import Session, command

_VARIABLE = "_DELTASEAL_COMPLETE"
# The shell functions call the program with `complete_<shell>` in the variable; `cli/main.py` answers.
_SCRIPTS = {
    "bash": """\
_deltaseal_complete() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
        _DELTASEAL_COMPLETE=complete_bash deltaseal 2>/dev/null ) )
    return 0
}
complete -o default -F _deltaseal_complete deltaseal
""",
    "zsh": """\
#compdef deltaseal
_deltaseal_complete() {
    eval "$( env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" \\
        _DELTASEAL_COMPLETE=complete_zsh deltaseal 2>/dev/null )"
}
compdef _deltaseal_complete deltaseal
""",
    "fish": """\
complete --command deltaseal --no-files --arguments "(env _DELTASEAL_COMPLETE=complete_fish \\
    _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS=(commandline -cp) deltaseal)" \\
    --condition "env _DELTASEAL_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args \\
    _TYPER_COMPLETE_ARGS=(commandline -cp) deltaseal"
""",
}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "completion",
        examples=(
            "completion bash > ~/.local/share/bash-completion/completions/deltaseal",
            'completion zsh > "${fpath[1]}/_deltaseal"',
            "completion fish > ~/.config/fish/completions/deltaseal.fish",
        ),
    )(completion)


def completion(
    session: Session, shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]
) -> None:
    """Print the completion script of a shell."""
    if shell not in _SCRIPTS:
        raise ArgumentInvalid(
            f"there is a script for {', '.join(_SCRIPTS)}", hint="deltaseal completion bash"
        )
    session.out.text(_SCRIPTS[shell])
