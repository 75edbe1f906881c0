"""The complementary reasoning task: questions whose hops mix what biographies taught with what the prompt tells.

Three families. parametric: every hop is a fact from a biography, the prompt holds the question only. contextual: every
hop is told in the prompt. complementary: the path mixes both groups, and the prompt tells the contextual hops.
Levels, for a cell of a family:

- iid, validation: the path is trained in that cell, the (path, start) pair is not; each has a bucket of its own.
- composition: every relation is used by the cell's training paths, the path (and its reverse) is not. From two hops.
- zero_shot: the path has a relation that composite training never asks for, or (`held_out_from: all_questions`) that no
  training question asks for; its twin is held out with it. In the atomic families only with all_questions.

In relation_unique contexts a last contextual hop can be read off without the hops before it: there a right answer alone
is weak evidence, and the step checker's verdict, or strict contexts, is the stronger one.

Facts, splits, contexts and sentences are made by the modules beside this one; here they are put together.
Source: arXiv 2512.01970 for the families and the levels.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cached_property

from rlreason.errors import TaskError, one_of
from rlreason.tasks.complementary.chains import Chain, ChainMaker
from rlreason.tasks.complementary.checker import Checker
from rlreason.tasks.complementary.contexts import ContextMaker
from rlreason.tasks.complementary.parameters import ComplementaryParameters
from rlreason.tasks.complementary.paths import PathSpace
from rlreason.tasks.complementary.relations import GROUPS, Relations, take_units
from rlreason.tasks.complementary.splits import Kind, ListedSplit, PathRules, Split, make_split
from rlreason.tasks.complementary.text import TRIPLE_FORM, derivation, form_words, question, sentence
from rlreason.tasks.complementary.world import World, draw_names
from rlreason.tasks.contract import Cell, Task
from rlreason.types import DerivationCheck, Problem

COMPOSITE = "complementary"
LEVELS: tuple[str, ...] = ("train", "validation", "iid", "composition", "zero_shot")
_KINDS: Mapping[str, Kind] = {
    "train": "seen",
    "validation": "seen",
    "iid": "seen",
    "composition": "composition",
    "zero_shot": "zero_shot",
}
_DRAWS = 10_000
"""Draws after which a level counts as empty; a level with one problem in a thousand draws is found."""
_CHANCE_PROBLEMS = 64


class Complementary(Task):
    """Complementary reasoning over a synthetic world of people.

    Raises:
        TaskError: at construction, where a family has no training path of some number of hops, or where there are too
            few names; names value, remedy and the recipe's key.
    """

    type = "complementary"
    Parameters = ComplementaryParameters

    def __init__(self, name: str, parameters: ComplementaryParameters) -> None:
        super().__init__(name, parameters)
        self._p = parameters
        self._plainest = TRIPLE_FORM if parameters.wording == "triples" else 0
        self._salt = str(parameters.world_seed)
        self.relations = Relations(
            {"parametric": parameters.parametric_relations, "contextual": parameters.contextual_relations},
            {"parametric": parameters.parametric_values, "contextual": parameters.contextual_values},
        )
        self.held_out = self._hold_out_relations()
        self._cells = {cell.name: cell for cell in _make_cells(sorted(parameters.hops))}
        for cell in self._cells.values():
            self._require_paths(cell)
        names = parameters.people + parameters.new_people
        self._names = draw_names(names, parameters.name_words, parameters.world_seed, f"tasks.{name}")
        self._splits: dict[str, Split] = {}
        self._chances: dict[tuple[str, str], float] = {}

    @cached_property
    def world(self) -> World:
        """The people and the facts that hold in every problem."""
        p = self._p
        return World(self.relations, self._names, p.people, p.context_facts == "world", p.world_seed)

    @cached_property
    def _chain_maker(self) -> ChainMaker:
        return ChainMaker(self.relations, self.world, self._p.held_out_starts, self._p.validation_starts, self._salt)

    @cached_property
    def _context_maker(self) -> ContextMaker:
        p = self._p
        strict = p.contexts == "strict"
        return ContextMaker(self.relations, self.world, strict, p.distractors, p.parametric_distractors)

    @cached_property
    def _checker(self) -> Checker:
        parametric = self.relations.in_group("parametric")
        return Checker(self.relations.groups, {item.name: self.world.tails[item.name] for item in parametric})

    @property
    def levels(self) -> tuple[str, ...]:
        return LEVELS

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(self._cells.values())

    @property
    def cell_weights(self) -> dict[str, float]:
        """Cell name -> weight of its number of hops; the weights of a family sum to 1."""
        totals: dict[str, float] = {}
        for cell in self.cells:
            totals[cell.family] = totals.get(cell.family, 0.0) + self._p.hops[cell.difficulty]
        return {cell.name: self._p.hops[cell.difficulty] / totals[cell.family] for cell in self.cells}

    @property
    def has_texts(self) -> bool:
        return True

    def problem(self, level: str, cell: str, index: int) -> Problem:
        """See `Task.problem`. `detail` holds family, hops, path, groups (a hop), start, visited (start to answer) and
        facts (what the prompt tells, as [head, relation, tail])."""
        where = self._cell(cell)
        self._require_level(level, where)
        rng = random.Random(f"{self._salt}/{level}/{cell}/{index}")
        chain = self._draw_chain(level, where, rng)
        paragraphs = self._context_maker.make(chain, rng)
        facts = [fact for paragraph in paragraphs for fact in paragraph]
        told = "".join(f"{self._sentence(fact, rng)} " for fact in facts)
        path, nodes = chain.path, chain.nodes
        form = rng.randrange(self._p.question_templates)
        asked = question(path, nodes[0], self.relations.twins[path[-1]] is not None, form)
        return Problem(
            id=f"{level}/{where.family}-{where.difficulty}/{index}",
            task=self.name,
            cell=cell,
            level=level,
            prompt=told + asked,
            answer=nodes[-1],
            target=derivation(chain.facts, nodes[-1], self._plainest),
            detail={
                "family": where.family,
                "hops": where.difficulty,
                "path": list(path),
                "groups": [self.relations.groups[name] for name in path],
                "start": nodes[0],
                "visited": list(nodes),
                "facts": [list(fact) for fact in facts],
            },
        )

    def check(self, problem: Problem, text: str) -> DerivationCheck:
        return self._checker.check(problem, text)

    def trained_paths(self, cell: str) -> frozenset[tuple[str, ...]] | None:
        """See `Task.trained_paths`; None for cells of more than `LIST_AT_MOST` paths."""
        split = self._split(self._cell(cell))
        return frozenset(split.paths["seen"]) if isinstance(split, ListedSplit) else None

    def text(self, index: int) -> str:
        """Biography of known person `index` modulo people: all their parametric facts, in an order (and in forms) that
        changes from one round of the people to the next."""
        person = self.world.known[index % len(self.world.known)]
        rng = random.Random(f"{self._salt}/text/{index}")
        names = [item.name for item in self.relations.in_group("parametric")]
        tails = self.world.tails
        order = rng.sample(names, len(names))
        return " ".join(
            self._sentence((person, name, tails[name][person]), rng) for name in order if person in tails[name]
        )

    def words(self) -> list[str]:
        """Words of the forms, relations, values and names, each once."""
        table = self.relations.by_name.values()
        values = [value for relation in table for value in relation.values]
        names = [word for name in self.world.everyone for word in name.split()]
        return list(dict.fromkeys([*form_words(), *(relation.name for relation in table), *values, *names]))

    def chance(self, level: str, cell: str) -> float:
        """Mean over some of the cell's problems of 1 / the number of answers that the question's kind leaves open.

        A guesser knows which kind of thing is asked for: a value of the last relation, a person who is somebody's tail
        in the context (last hop contextual), or any known person (last hop parametric).
        """
        key = (level, cell)
        if key not in self._chances:
            problems = (self.problem(level, cell, index) for index in range(_CHANCE_PROBLEMS))
            self._chances[key] = sum(1 / self._open_answers(problem) for problem in problems) / _CHANCE_PROBLEMS
        return self._chances[key]

    def answer_space(self, level: str, cell: str) -> float:
        """See `Task.answer_space`: as many answers as `chance` guesses among."""
        return 1.0 / self.chance(level, cell)

    def _open_answers(self, problem: Problem) -> int:
        last = self.relations.by_name[problem.detail["path"][-1]]
        if last.values:
            return len(last.values)
        if last.group == "parametric":
            return len(self.world.known)
        return len({tail for _, name, tail in problem.detail["facts"] if self.relations.twins[name] is not None})

    def _sentence(self, fact: tuple[str, str, str], rng: random.Random) -> str:
        forms = self._p.sentence_templates
        return sentence(*fact, form=rng.randrange(forms) if forms > 1 else self._plainest)

    def _draw_chain(self, level: str, cell: Cell, rng: random.Random) -> Chain:
        split, kind, maker = self._split(cell), _KINDS[level], self._chain_maker
        for _ in range(_DRAWS):
            path = split.draw(kind, rng)
            chain = maker.walk(path, rng) if path is not None else None
            if chain is None:
                continue
            if kind != "seen" or (maker.bucket(chain) == level and (level == "train" or maker.trainable(chain.path))):
                return chain
        raise TaskError(self._empty(level, cell))

    def _split(self, cell: Cell) -> Split:
        if cell.name not in self._splits:
            training, everything = self._spaces(cell)
            maker = self._chain_maker
            rules = PathRules(
                self._held_out_of(cell),
                self._p.held_out_paths,
                self._salt,
                self.relations.twins,
                maker.trainable,
                maker.walkable,
            )
            self._splits[cell.name] = make_split(training, everything, rules)
        return self._splits[cell.name]

    def _spaces(self, cell: Cell) -> tuple[PathSpace, PathSpace]:
        """The cell's paths without the relations held out of its training, and with them."""
        held_out = self._held_out_of(cell)
        relations = tuple(item for item in self.relations.by_name.values() if cell.family in (item.group, COMPOSITE))
        repeats = self._p.contexts == "strict"
        training = tuple(item for item in relations if item.name not in held_out)
        return (
            PathSpace(cell.difficulty, training, repeats, cell.family == COMPOSITE),
            PathSpace(cell.difficulty, relations, repeats, cell.family == COMPOSITE),
        )

    def _held_out_of(self, cell: Cell) -> frozenset[str]:
        everywhere = self._p.held_out_from == "all_questions"
        return self.held_out if everywhere or cell.family == COMPOSITE else frozenset()

    def _hold_out_relations(self) -> frozenset[str]:
        """Person-to-person relations for zero_shot, with their twins: some of each group, by the world's seed."""
        held_out: set[str] = set()
        count = self._p.held_out_relations
        for group in GROUPS:
            units = self.relations.units[group]
            total = sum(map(len, units))
            order = random.Random(f"{self._salt}/held out/{group}").sample(units, len(units))
            names = {name for unit in take_units(order, count) for name in unit}
            if count and len(names) >= total:
                raise TaskError(
                    f"tasks.{self.name}.held_out_relations: {count} (twins included: {len(names)}) leaves composite "
                    f"training none of the {total} {group} person-to-person relations; lower held_out_relations "
                    f"or raise {group}_relations to at least {total + 1}"
                )
            held_out |= names
        return frozenset(held_out)

    def _require_paths(self, cell: Cell) -> None:
        training, _ = self._spaces(cell)
        if next(iter(training), None) is None:
            groups = GROUPS if cell.family == COMPOSITE else (cell.family,)
            remedy = " or ".join(f"{group}_relations" for group in groups)
            unique = " without repeating a relation" if self._p.contexts == "relation_unique" else ""
            raise TaskError(
                f"tasks.{self.name}.hops: no training path of {cell.difficulty} hops in cell {cell.name!r}: the "
                f"{len(training.links)} person-to-person relations that training may use do not make one{unique}; "
                f"raise {remedy}, lower held_out_relations (now {self._p.held_out_relations}) or drop "
                f"{cell.difficulty} from hops"
            )

    def _cell(self, name: str) -> Cell:
        if name not in self._cells:
            raise TaskError(one_of(f"cell of task {self.name!r}", name, self._cells))
        return self._cells[name]

    def _require_level(self, level: str, cell: Cell) -> None:
        if level not in LEVELS:
            raise TaskError(one_of(f"level of task {self.name!r}", level, LEVELS))
        if level == "composition" and cell.difficulty == 1:
            raise TaskError(
                f"task {self.name!r}: cell {cell.name!r} has no level 'composition': a path of one hop composes "
                "nothing; ask for cells of two hops and more"
            )
        if level == "zero_shot" and not self._held_out_of(cell):
            remedy = "set held_out_relations to at least 1" if not self.held_out else "set held_out_from: all_questions"
            raise TaskError(
                f"task {self.name!r}: cell {cell.name!r} has no level 'zero_shot': its training questions ask "
                f"for every relation; {remedy}" + ("" if cell.family == COMPOSITE else f" or ask for {COMPOSITE} cells")
            )

    def _empty(self, level: str, cell: Cell) -> str:
        remedies = {
            "train": "lower held_out_paths, held_out_starts or validation_starts, or raise people",
            "validation": f"raise validation_starts (now {self._p.validation_starts}) or people",
            "iid": f"raise held_out_starts (now {self._p.held_out_starts}) or people",
            "composition": f"raise held_out_paths (now {self._p.held_out_paths}), or the relations",
            "zero_shot": f"raise held_out_relations (now {self._p.held_out_relations}), relations or people",
        }
        return (
            f"task {self.name!r}: cell {cell.name!r} has no problem at level {level!r} ({_DRAWS} draws found none); "
            f"{remedies[level]}"
        )


def _make_cells(hops: list[int]) -> list[Cell]:
    """Cells of every family, atomic first. A composite needs both atomic skills, as deep as it can use them; an atomic
    cell of several hops needs its family's single hop."""
    cells: list[Cell] = []
    for family in GROUPS:
        for count in hops:
            single = (f"{family}/1",) if count > 1 and 1 in hops else ()
            cells.append(Cell(f"{family}/{count}", family, count, single))
    for count in hops:
        if count > 1:
            # h hops of both groups hold at most h-1 of one
            needed = [fewer for fewer in hops if fewer < count] or [min(hops)]
            atomic = tuple(f"{family}/{fewer}" for family in GROUPS for fewer in needed)
            cells.append(Cell(f"{COMPOSITE}/{count}", COMPOSITE, count, atomic))
    return cells
