# SPDX-License-Identifier: MIT OR Apache-2.0
# Debian's libraries, each named once; a module asks for them by target.
#
# FR_PC_REQUIRES and FR_PC_LIBS say the same to pkg-config, for programs that link libfreshet.a.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
set(FR_PC_REQUIRES "")
foreach(library uv=libuv urcu=liburcu simdjson=simdjson xxhash=libxxhash crypto=libcrypto ssl=libssl
                secp256k1=libsecp256k1 zstd=libzstd zlib=zlib rocksdb=rocksdb)
  string(REPLACE "=" ";" pair ${library})
  list(GET pair 0 name)
  list(GET pair 1 module)
  pkg_check_modules(${name} REQUIRED QUIET IMPORTED_TARGET ${module})
  list(APPEND FR_PC_REQUIRES ${module})
endforeach()
pkg_check_modules(cmocka REQUIRED QUIET IMPORTED_TARGET cmocka)
# Its headers only: src/os/curl_load.c loads it when something is first fetched.
pkg_check_modules(curl REQUIRED QUIET libcurl)

# wslay has no pkg-config file.
find_library(FR_WSLAY wslay REQUIRED)
add_library(wslay INTERFACE)
target_link_libraries(wslay INTERFACE ${FR_WSLAY})
add_library(rocksdb ALIAS PkgConfig::rocksdb)
set(FR_PC_LIBS -lwslay -lstdc++ -lpthread -lm)
