from scheduler.config import FairnessSettings, TenantSettings
from scheduler.gateway.shares import share_of

SETTINGS = FairnessSettings(tenants={"acme": TenantSettings(weight=4, priority=1)})


def test_all_sessions_of_a_tenant_are_one_flow_with_its_share() -> None:
    one, other = share_of(SETTINGS, "acme", "sess-1"), share_of(SETTINGS, "acme", "sess-2")
    assert one == other
    assert (one.weight, one.priority) == (4, 1)
    assert 0 <= one.flow < 1 << 63


def test_a_tenant_without_settings_has_the_usual_share() -> None:
    share = share_of(SETTINGS, "other", "sess-1")
    assert (share.weight, share.priority) == (1, 0)
    assert share.flow != share_of(SETTINGS, "acme", "sess-1").flow


def test_a_session_without_a_tenant_is_on_its_own() -> None:
    flows = {share_of(SETTINGS, "", session).flow for session in ("sess-1", "sess-2")}
    flows.add(share_of(SETTINGS, "sess-1", "").flow)
    assert len(flows) == 3
