"""The ovs section as Retis' Python package has it: an attribute of the event's type holds its fields.

`event.ovs.flow_lookup.ufid.show()`, `event.ovs.action_execute.action.output.port`; in JSON they lie flat.
"""

from __future__ import annotations

from typing import Any

from fyke.api.retis_fields import Json, RetisFields, RetisList
from fyke.events.ovs import ufid_text

_OPERATIONS = {"exec": 0, "put": 1}
_IN_PARTS = frozenset({"output", "recirc", "ct"})  # actions whose fields are one level further down


class RetisUfid(RetisList):
    """The id of a flow: four numbers of 32 bits."""

    __slots__ = ()

    def show(self) -> str:
        """Return it as OVS writes it."""
        return ufid_text(self)


class RetisOvs(RetisFields):
    """The ovs section: of one type, named by its only attribute."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name != self._fields.get("event_type"):
            raise AttributeError(f"this ovs event has no {name}")
        fields = {k: v for k, v in self._fields.items() if k != "event_type"}
        return _EVENTS.get(name, RetisFields)(fields, f"ovs.{name}")

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), str(self._fields.get("event_type"))})


class RetisOperation(RetisFields):
    """A flow operation."""

    __slots__ = ()

    @property
    def op_type(self) -> int | None:
        """0 to execute, 1 to put, as Retis' Python package has them."""
        return _OPERATIONS.get(self._fields["op_type"])


class RetisActionEvent(RetisFields):
    """The execution of an action."""

    __slots__ = ()

    @property
    def action(self) -> RetisAction | None:
        """What is done; None where it isn't known."""
        if "action" not in self._fields:
            return None
        fields = {k: v for k, v in self._fields.items() if k not in ("recirc_id", "queue_id")}
        return RetisAction(fields, "ovs.action")


class RetisAction(RetisFields):
    """An action: `action.output.port`, `action.recirc.id`, `action.ct.zone_id`, `action.reason` of a drop."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        kind = self._fields.get("action")
        fields: Json = {k: v for k, v in self._fields.items() if k != "action"}
        if name == kind and kind in _IN_PARTS:
            return RetisFields(fields, f"ovs.action.{kind}")
        if name in fields and kind not in _IN_PARTS:
            return fields[name]
        raise AttributeError(f"the action {kind} has no {name}")

    def __dir__(self) -> list[str]:
        kind = str(self._fields.get("action"))
        names = {kind} if kind in _IN_PARTS else self._fields.keys() - {"action"}
        return sorted({*object.__dir__(self), *names})


_EVENTS = {"flow_operation": RetisOperation, "action_execute": RetisActionEvent}
