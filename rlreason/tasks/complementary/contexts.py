"""What a prompt tells: the contextual facts of a chain among facts that do not matter.

Between `chains` and `text`. Two forms. relation_unique: single facts, each relation at most once, so that reading needs
the relation alone. strict: a paragraph for each person with all their contextual facts, so that reading needs person
and relation. Facts that are not part of the world are drawn so that no two of them contradict each other through
symmetry, inverses or two people sharing a tail.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from rlreason.tasks.complementary.chains import Chain
from rlreason.tasks.complementary.relations import Relations
from rlreason.tasks.complementary.world import World

Fact = tuple[str, str, str]
"""(head, relation, tail)"""
Paragraph = tuple[Fact, ...]
"""Facts that stand together."""
_TRIES = 100


class ContextMaker:
    """Makes the paragraphs of a prompt, in the order in which they are told.

    Args:
        strict: the form; see above.
        distractors: facts (relation_unique) or people (strict) that do not matter.
        alone: the same, of chains without a contextual hop; in every second of their prompts.
    """

    def __init__(self, relations: Relations, world: World, strict: bool, distractors: int, alone: int) -> None:
        self._relations = relations
        self._world = world
        self._strict = strict
        self._distractors = distractors
        self._alone = alone
        self._contextual = relations.in_group("contextual")
        self._names = [relation.name for relation in self._contextual]
        self._paragraphs: dict[str, Paragraph] = {}

    def make(self, chain: Chain, rng: random.Random) -> list[Paragraph]:
        """Paragraphs for a chain, shuffled."""
        groups = self._relations.groups
        gold = [fact for fact in chain.facts if groups[fact[1]] == "contextual"]
        distractors = self._distractors
        if not gold:
            if not self._alone or rng.random() < 0.5:
                return []
            distractors = self._alone
        tell = self._people if self._strict else self._single_facts
        paragraphs = tell(gold, distractors, rng)
        rng.shuffle(paragraphs)
        return paragraphs

    def _single_facts(self, gold: list[Fact], distractors: int, rng: random.Random) -> list[Paragraph]:
        facts = {relation: (head, relation, tail) for head, relation, tail in gold}
        free = [name for name in self._names if name not in facts]
        for name in rng.sample(free, distractors):
            facts[name] = self._distractor(name, facts, rng)
        return [(fact,) for fact in facts.values()]

    def _distractor(self, name: str, facts: dict[str, Fact], rng: random.Random) -> Fact:
        relation = self._relations.by_name[name]
        fixed = self._world.tails.get(name)
        reverse = facts.get(relation.twin) if relation.twin else None
        while True:
            head = rng.choice(self._world.everyone)
            if fixed is not None:
                if head in fixed:
                    return head, name, fixed[head]
            elif relation.values:
                return head, name, rng.choice(relation.values)
            else:
                tail = rng.choice(self._world.everyone)
                # the twin's fact (a, twin, b) already says that b leads to a: say nothing else of either
                clash = reverse is not None and (head == reverse[2] or tail == reverse[0])
                if tail != head and not clash:
                    return head, name, tail

    def _people(self, gold: list[Fact], distractors: int, rng: random.Random) -> list[Paragraph]:
        heads = list(dict.fromkeys(head for head, _, _ in gold))
        matter = len(heads)
        while len(heads) < matter + distractors:
            person = rng.choice(self._world.everyone)
            if person not in heads:
                heads.append(person)
        if all(name in self._world.tails for name in self._names):
            return [self._fixed_paragraph(head) for head in heads]
        return self._fresh_paragraphs(heads, gold, rng)

    def _fixed_paragraph(self, head: str) -> Paragraph:
        paragraph = self._paragraphs.get(head)
        if paragraph is None:
            tails = self._world.tails
            paragraph = tuple((head, name, tails[name][head]) for name in self._names if head in tails[name])
            self._paragraphs[head] = paragraph
        return paragraph

    def _fresh_paragraphs(self, heads: list[str], gold: Iterable[Fact], rng: random.Random) -> list[Paragraph]:
        twins = self._relations.twins
        tails: dict[tuple[str, str], str] = {}
        for head, name, tail in gold:
            tails[head, name] = tail
            twin = twins[name]
            if twin is not None:
                tails[tail, twin] = head
        everyone = self._world.everyone
        paragraphs: list[Paragraph] = []
        for head in rng.sample(heads, len(heads)):
            for relation in self._contextual:
                key = (head, relation.name)
                if key in tails:
                    continue
                if relation.twin is None:
                    tails[key] = rng.choice(relation.values)
                    continue
                for _ in range(_TRIES):  # in a tiny world nobody may be left: then this fact is not told
                    tail = rng.choice(everyone)
                    if tail != head and (tail, relation.twin) not in tails:
                        tails[key] = tail
                        tails[tail, relation.twin] = head
                        break
            names = rng.sample(self._names, len(self._names))
            paragraphs.append(tuple((head, name, tails[head, name]) for name in names if (head, name) in tails))
        return paragraphs
