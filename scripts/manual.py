#!/usr/bin/env python3
"""Writes the manual pages from what the program says of itself.

    scripts/manual.py PROGRAM DIRECTORY

One page for the program and one for each verb, in the order of man-pages(7). Synopsis and options are the help's;
what no help has room for (examples, signals, files) stands in packaging/man/PAGE.roff and is put in before SEE ALSO.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

EXTRAS = Path(__file__).parents[1] / "packaging/man"
# Every page of the argument parser would repeat these.
EVERYWHERE = {"help", "version"}
EXIT = re.compile(r"\s*Exit codes: (.*)", re.DOTALL)


def main(program, directory):
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    help = subprocess.run([program, "--experimental-dump-help"], check=True, capture_output=True, text=True).stdout
    command = json.loads(help)["command"]
    verbs = [verb for verb in command["subcommands"] if verb["shouldDisplay"] and verb["commandName"] != "help"]
    names = ["routerd"] + [f"routerd-{verb['commandName']}" for verb in verbs]
    pages = {"routerd": overview(command, verbs)} | {f"routerd-{verb['commandName']}": page(verb) for verb in verbs}
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, sections in pages.items():
        extra = EXTRAS / f"{name}.roff"
        also = ", ".join(f"\\fB{other.replace('-', chr(92) + '-')}\\fR(1)" for other in names if other != name)
        text = "\n".join([
            f'.TH {name.upper()} 1 "" "routerd {version}" "routerd"', ".nh", ".ad l", *sections,
            *([extra.read_text().rstrip()] if extra.exists() else []), ".SH SEE ALSO", also]) + "\n"
        Path(directory, f"{name}.1").write_text(text)


def overview(command, verbs):
    lines = [".SH NAME", f"routerd \\- {escaped(sentence(command['abstract']))}"]
    lines += [".SH SYNOPSIS", ".B routerd", "[\\fIverb\\fR] [\\fIoptions\\fR]"]
    lines += [".SH DESCRIPTION", *paragraphs(command["discussion"]), ".SH VERBS"]
    for verb in verbs:
        aliases = "".join(f", \\fB{escaped(alias)}\\fR" for alias in verb.get("aliases", []))
        default = " (without a verb)" if verb["commandName"] == command.get("defaultSubcommand", "serve") else ""
        lines += [".TP", f"\\fB{escaped(verb['commandName'])}\\fR{aliases}{default}", escaped(verb["abstract"])]
    return lines + [".SH OPTIONS", *options(command["arguments"], keep=EVERYWHERE)]


def page(verb):
    name = verb["commandName"]
    discussion, exit_codes = split_exit(verb.get("discussion", ""))
    shown = [argument for argument in verb["arguments"] if argument["shouldDisplay"]]
    lines = [".SH NAME", f"routerd\\-{name} \\- {escaped(sentence(verb['abstract']))}"]
    lines += [".SH SYNOPSIS", f".B routerd {name}", "[\\fIoptions\\fR]"]
    lines += [f"\\fI{escaped(argument['valueName'])}\\fR" for argument in shown if argument["kind"] == "positional"]
    lines += [".SH DESCRIPTION", escaped(verb["abstract"]), ".PP", *paragraphs(discussion)]
    if "aliases" in verb:
        lines += [".PP", "The same as " + ", ".join(f"\\fBrouterd {escaped(alias)}\\fR" for alias in verb["aliases"]) + "."]
    lines += [".SH OPTIONS", *options(shown, with_variables=name == "serve")]
    if exit_codes:
        lines += [".SH EXIT STATUS"]
        for code, meaning in re.findall(r"(\d+) (.*?)(?:, (?=\d)|\.$)", " ".join(exit_codes.split())):
            lines += [".TP", f".B {code}", escaped(meaning)]
    return lines


def options(arguments, keep=None, with_variables=False):
    lines = []
    seen = set()
    for argument in arguments:
        longs = [name["name"] for name in argument.get("names", []) if name["kind"] == "long"]
        if not longs or longs[0] in seen or (longs[0] in EVERYWHERE) != (keep is not None):
            continue
        # A switch and its opposite are one entry.
        both = [longs[0]] + [other for other in _all_names(arguments) if other == f"no-{longs[0]}"]
        seen |= set(both)
        shorts = [name["name"] for name in argument["names"] if name["kind"] == "short"]
        spelled = ", ".join([f"\\fB\\-{name}\\fR" for name in shorts] + [f"\\fB\\-\\-{escaped(name)}\\fR" for name in both])
        value = f" \\fI{escaped(argument['valueName'])}\\fR" if argument["kind"] == "option" else ""
        lines += [".TP", spelled + value, escaped(argument.get("abstract", ""))]
        if with_variables:
            lines += [f"Environment: \\fBROUTERD_{longs[0].upper().replace('-', '_')}\\fR."]
    return lines


def _all_names(arguments):
    return [name["name"] for argument in arguments for name in argument.get("names", [])]


def split_exit(discussion):
    match = EXIT.search(discussion)
    return (discussion[:match.start()], match[1]) if match else (discussion, None)


def paragraphs(text):
    """Prose is filled; what is indented stays as it is."""
    lines = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        rows = block.split("\n")
        if lines:
            lines.append(".PP")
        while rows:
            example = rows[0].startswith("  ")
            count = next((i for i, row in enumerate(rows) if row.startswith("  ") != example), len(rows))
            part, rows = rows[:count], rows[count:]
            body = [escaped(row.strip()) for row in part]
            lines += [".RS 4", ".nf", *body, ".fi", ".RE"] if example else body
    return lines


def sentence(text):
    """In the middle of a line, where a name keeps its capital."""
    text = text.rstrip(".")
    return text[0].lower() + text[1:] if text.split()[0][1:].islower() else text


def escaped(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\`").replace("^", "\\(ha").replace("~", "\\(ti")
    text = text.replace("'", "\\(aq")
    # A full stop at the beginning of a line would be a request.
    return "\\&" + text if text.startswith(".") else text


main(*sys.argv[1:])
