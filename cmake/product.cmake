# SPDX-License-Identifier: MIT OR Apache-2.0
# What leaves the house: libfreshet (static and shared), the `freshet` command.
file(GLOB cli_sources CONFIGURE_DEPENDS src/cli/*.c)
if(cli_sources)
  add_executable(freshet ${cli_sources})
  target_include_directories(freshet PRIVATE src/cli)
  target_link_libraries(freshet PRIVATE fr_server fr_simulate fr_source fr_engine fr_repo Threads::Threads m)
endif()
