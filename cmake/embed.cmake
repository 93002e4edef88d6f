# SPDX-License-Identifier: MIT OR Apache-2.0
# Compiles web/index.html into the server. Included by CMakeLists.txt after fr_module(server); run again by the build
# as a script (cmake -DIN=… -DOUT=… -P) whenever the page changes.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${IN} bytes HEX)
  string(LENGTH "${bytes}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(REPEAT "0x..," 16 row)
  string(REGEX REPLACE "(${row})" "\\1\n" bytes "${bytes}")
  file(WRITE ${OUT} "// Generated from web/index.html by cmake/embed.cmake.\n#include \"page.h\"\n\n"
       "const unsigned char fr_page_html[] = {\n${bytes}0};\nconst size_t fr_page_html_size = ${size};\n")
else()
  set(page ${CMAKE_CURRENT_LIST_DIR}/../web/index.html)
  set(generated ${CMAKE_BINARY_DIR}/generated/page_html.c)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated)
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} -DIN=${page} -DOUT=${generated} -P ${CMAKE_CURRENT_LIST_DIR}/embed.cmake
    DEPENDS ${page} ${CMAKE_CURRENT_LIST_DIR}/embed.cmake
    VERBATIM)
  target_sources(fr_server PRIVATE ${generated})
endif()
