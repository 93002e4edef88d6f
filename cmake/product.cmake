# SPDX-License-Identifier: MIT OR Apache-2.0
# What leaves the house: libfreshet (static and shared), its header and pkg-config file, the `freshet` command, the
# man pages. Target `product` builds all that is installed and nothing else.
include(GNUInstallDirs)
add_custom_target(product)
get_property(modules GLOBAL PROPERTY FR_MODULES)
get_property(libraries GLOBAL PROPERTY FR_LIBRARIES)
list(REMOVE_DUPLICATES libraries)

# The modules' objects, not their archives: nothing is dropped for want of a caller.
set(objects "")
foreach(module ${modules})
  list(APPEND objects $<TARGET_OBJECTS:${module}>)
endforeach()
if(TARGET fr_engine AND fr_engine IN_LIST modules)
  foreach(kind STATIC SHARED)
    string(TOLOWER ${kind} suffix)
    add_library(freshet_${suffix} ${kind} ${objects})
    set_target_properties(freshet_${suffix} PROPERTIES OUTPUT_NAME freshet LINKER_LANGUAGE CXX)
    target_include_directories(freshet_${suffix} INTERFACE ${CMAKE_SOURCE_DIR}/include)
    add_dependencies(product freshet_${suffix})
  endforeach()
  target_link_libraries(freshet_static INTERFACE ${libraries} Threads::Threads m)
  target_link_libraries(freshet_shared PRIVATE ${libraries} Threads::Threads m)
  target_link_options(freshet_shared PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/exports.map
                      -Wl,--as-needed)
  if(NOT FR_SANITIZE) # a sanitizer's runtime is in the program, not in the library
    target_link_options(freshet_shared PRIVATE -Wl,-z,defs)
  endif()
  set_target_properties(freshet_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
                        LINK_DEPENDS ${CMAKE_SOURCE_DIR}/cmake/exports.map)
  install(TARGETS freshet_static freshet_shared
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(FILES include/freshet.h include/freshet_repo.h include/freshet_sync.h
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

  # The prefix is found from where the file lies, so the installed tree can be moved.
  file(RELATIVE_PATH FR_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" FR_PC_PREFIX ${FR_PC_PREFIX})
  list(JOIN FR_PC_REQUIRES " " FR_PC_REQUIRES)
  list(JOIN FR_PC_LIBS " " FR_PC_LIBS)
  configure_file(cmake/freshet.pc.in freshet.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/freshet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

file(GLOB cli_sources CONFIGURE_DEPENDS src/cli/*.c)
list(FILTER cli_sources EXCLUDE REGEX "_(test|fuzz|bench)\\.c$")
if(cli_sources)
  add_executable(freshet ${cli_sources})
  target_include_directories(freshet PRIVATE src/cli)
  target_link_libraries(freshet PRIVATE fr_server fr_simulate fr_source fr_engine fr_repo Threads::Threads m)
  add_dependencies(product freshet)
  install(TARGETS freshet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

file(GLOB man_pages CONFIGURE_DEPENDS docs/man/*.1)
install(FILES ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES LICENSE-MIT LICENSE-APACHE README.md ARCHITECTURE.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
# What the headers and the README name lies where they name it.
file(GLOB documents CONFIGURE_DEPENDS docs/*.md)
install(FILES ${documents} DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)
