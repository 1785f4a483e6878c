"""All operations of `SessionRepository` on a storage: what is promised holds whichever engine is below."""

from bamboo_sessions.testing.conformance.repository.asking import AskingConformance
from bamboo_sessions.testing.conformance.repository.authoring import AuthoringConformance
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase
from bamboo_sessions.testing.conformance.repository.call_groups import CallGroupsConformance
from bamboo_sessions.testing.conformance.repository.changing import ChangingConformance
from bamboo_sessions.testing.conformance.repository.fencing import FencingConformance
from bamboo_sessions.testing.conformance.repository.following import FollowingConformance
from bamboo_sessions.testing.conformance.repository.keeping import KeepingConformance
from bamboo_sessions.testing.conformance.repository.lease_face import LeaseFaceConformance
from bamboo_sessions.testing.conformance.repository.leasing import LeasingConformance
from bamboo_sessions.testing.conformance.repository.lifecycle import LifecycleConformance
from bamboo_sessions.testing.conformance.repository.loading import LoadingConformance
from bamboo_sessions.testing.conformance.repository.owning import OwningConformance
from bamboo_sessions.testing.conformance.repository.reading import PagesConformance
from bamboo_sessions.testing.conformance.repository.retrying import RetryingConformance
from bamboo_sessions.testing.conformance.repository.rewriting import RewritingConformance
from bamboo_sessions.testing.conformance.repository.saving import SavingConformance
from bamboo_sessions.testing.conformance.repository.searching import SearchingConformance
from bamboo_sessions.testing.conformance.repository.tenants import TenantsConformance
from bamboo_sessions.testing.conformance.repository.terms import TermsConformance

__all__ = [
    "AskingConformance",
    "AuthoringConformance",
    "CallGroupsConformance",
    "ChangingConformance",
    "FencingConformance",
    "FollowingConformance",
    "KeepingConformance",
    "LeaseFaceConformance",
    "LeasingConformance",
    "LifecycleConformance",
    "LoadingConformance",
    "OwningConformance",
    "PagesConformance",
    "RepositoryCase",
    "RepositoryConformance",
    "RetryingConformance",
    "RewritingConformance",
    "SavingConformance",
    "SearchingConformance",
    "TenantsConformance",
    "TermsConformance",
]


class RepositoryConformance(
    LoadingConformance,
    SavingConformance,
    CallGroupsConformance,
    ChangingConformance,
    AuthoringConformance,
    OwningConformance,
    AskingConformance,
    RewritingConformance,
    PagesConformance,
    SearchingConformance,
    LifecycleConformance,
    KeepingConformance,
    FollowingConformance,
    LeasingConformance,
    FencingConformance,
    TenantsConformance,
    RetryingConformance,
    TermsConformance,
    LeaseFaceConformance,
):
    """All operations of the repository together."""
