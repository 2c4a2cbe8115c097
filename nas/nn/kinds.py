"""The model of each kind that an interface may name: one network, and K members of it."""

from nas.nn.attention import AttentionModel
from nas.nn.attention_members import AttentionMembers
from nas.nn.latent_model import LatentMembers, LatentModel
from nas.nn.members import Members, SequenceMembers
from nas.nn.model import Network, SequenceModel
from nas.nn.region_members import RegionMembers
from nas.nn.regions import RegionModel
from nas.tasks.base import Interface
from nas.tasks.kinds import DrawKind, ModelKind, RegionsKind, StornKind, VrnnKind

MODELS: dict[type[ModelKind], tuple[type[Network], type[Members]]] = {
    StornKind: (LatentModel, LatentMembers),
    VrnnKind: (LatentModel, LatentMembers),
    DrawKind: (LatentModel, LatentMembers),
    RegionsKind: (RegionModel, RegionMembers),
}


def network_of(interface: Interface) -> type[Network]:
    """Return the class of a network that reads and writes as the interface says."""
    return _models(interface)[0]


def members_of(interface: Interface) -> type[Members]:
    """Return the class of K such networks as one module."""
    return _models(interface)[1]


def _models(interface: Interface) -> tuple[type[Network], type[Members]]:
    if interface.attention is not None:
        return AttentionModel, AttentionMembers
    if interface.kind is not None:
        return MODELS[type(interface.kind)]
    return SequenceModel, SequenceMembers
