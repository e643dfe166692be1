# SPDX-License-Identifier: Apache-2.0
#
# auto/rooms.mk - which room may use which others: its own and those named here.
# auto/layers holds the #include lines to it; a unit test in t/unit/ROOM is linked
# with no more than this, so that the walls hold for symbols too.

USES_base     :=
USES_event    := base
USES_table    := base
USES_stats    := base
USES_proto    := base
USES_stream   := event stats base
USES_dns      := event stats base
USES_http     := stream $(USES_stream)
USES_route    := http table $(USES_http)
USES_upstream := dns route $(USES_route)
USES_filter   := upstream $(USES_upstream)
USES_model    := proto table stats base
USES_source   := model proto table http dns $(USES_http)
USES_admin    := filter model proto $(USES_filter)
USES_server   := admin source $(USES_admin)
USES_cli      := server source $(USES_server)

# A module's two parts live on the two sides of the wall.
USES_module_run    := filter proto $(USES_filter)
USES_module_config := model $(USES_model)
