"""The terms of one round of a project, as each party writes them down by itself."""

from common.messages import Instruction
from common.project import Project
from common.secagg.encoding import digest
from common.secagg.terms import Terms
from common.update import sum_names


def terms_of(instruction: Instruction, project: Project) -> Terms:
    """What this party writes down of a round: from its own project, and the instruction that it checked."""
    spec, profile = project.spec, project.profile
    assert spec.secure_aggregation.mode == "sa1"
    return Terms(
        run=bytes.fromhex(project.digest),
        round=instruction.round,
        attempt=instruction.attempt,
        roster=project.roster.digest(),
        model=bytes.fromhex(instruction.model),
        bounds=digest(instruction.clips.astype("<f4").tobytes()),
        coordinates=project.layout.num_coordinates,
        lanes=len(sum_names(spec.objectives.names)),
        word_bits=profile.word_bits,
        levels=profile.levels,
        min_sites=max(spec.secure_aggregation.min_sites, project.roster.min_sites),
    )
