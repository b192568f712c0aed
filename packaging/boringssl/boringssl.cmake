# Finds BoringSSL, or builds it: targets boringssl_crypto and boringssl_ssl.
#
# It is built once a version, compiler and sanitizer, statically, into a cache outside the build tree, from Debian's source
# package: about a minute. Debian's shared package is the alternative (-DPOSTERN_BORINGSSL=shared): built for size, and its
# symbols answer to other libraries' calls of OpenSSL.
set(POSTERN_BORINGSSL "static" CACHE STRING "static: built from Debian's source package; shared: android-libboringssl-dev")
set(POSTERN_BORINGSSL_VERSION "13.0.0+r24-2" CACHE STRING "Version of Debian's source package of BoringSSL")
if(DEFINED ENV{XDG_CACHE_HOME})
  set(boringssl_cache_default $ENV{XDG_CACHE_HOME}/postern)
else()
  set(boringssl_cache_default $ENV{HOME}/.cache/postern)
endif()
set(POSTERN_CACHE ${boringssl_cache_default} CACHE PATH "Where parts that are built once are kept")

function(build_boringssl prefix flags)
  if(EXISTS ${prefix}/lib/libssl.a)
    return()
  endif()
  set(folder ${POSTERN_CACHE}/boringssl/${POSTERN_BORINGSSL_VERSION})
  # Two configurations at once must not build into each other.
  file(LOCK ${POSTERN_CACHE}/boringssl DIRECTORY GUARD FUNCTION TIMEOUT 900)
  if(EXISTS ${prefix}/lib/libssl.a)
    return()
  endif()
  if(NOT EXISTS ${folder}/source/debian/sources.mk)
    message(STATUS "Fetching BoringSSL ${POSTERN_BORINGSSL_VERSION}, Debian's source package")
    execute_process(COMMAND ${CMAKE_SOURCE_DIR}/packaging/boringssl/fetch.sh ${POSTERN_BORINGSSL_VERSION} ${folder}
      COMMAND_ERROR_IS_FATAL ANY)
  endif()
  message(STATUS "Building BoringSSL into ${prefix} (once, about a minute)")
  execute_process(COMMAND ${CMAKE_COMMAND} -G Ninja -S ${CMAKE_SOURCE_DIR}/packaging/boringssl -B ${prefix}/build
    -DBORINGSSL_SOURCE=${folder}/source -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=${prefix}
    -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
    "-DCMAKE_C_FLAGS=-O2 -g1 ${flags}" "-DCMAKE_CXX_FLAGS=-O2 -g1 ${flags}"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${prefix}/build OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${prefix}/build OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  file(REMOVE_RECURSE ${prefix}/build)
endfunction()

if(POSTERN_BORINGSSL STREQUAL "shared")
  find_path(boringssl_include openssl/ssl.h PATHS /usr/include/android NO_DEFAULT_PATH REQUIRED)
  find_library(boringssl_ssl_library ssl PATH_SUFFIXES android NO_DEFAULT_PATH
    PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
  find_library(boringssl_crypto_library crypto PATH_SUFFIXES android NO_DEFAULT_PATH
    PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
  set(boringssl_kind SHARED)
else()
  # The thread sanitizer has to see the library's own synchronisation; the address sanitizer does without.
  set(boringssl_variant ${CMAKE_CXX_COMPILER_ID}-${CMAKE_CXX_COMPILER_VERSION})
  set(boringssl_flags "")
  if(POSTERN_SANITIZE STREQUAL "thread")
    set(boringssl_variant ${boringssl_variant}-thread)
    set(boringssl_flags "-fsanitize=thread")
  endif()
  set(boringssl_prefix ${POSTERN_CACHE}/boringssl/${POSTERN_BORINGSSL_VERSION}/${boringssl_variant})
  build_boringssl(${boringssl_prefix} "${boringssl_flags}")
  set(boringssl_include ${boringssl_prefix}/include)
  set(boringssl_ssl_library ${boringssl_prefix}/lib/libssl.a)
  set(boringssl_crypto_library ${boringssl_prefix}/lib/libcrypto.a)
  set(boringssl_kind STATIC)
endif()

foreach(part crypto ssl)
  add_library(boringssl_${part} ${boringssl_kind} IMPORTED)
  set_target_properties(boringssl_${part} PROPERTIES
    IMPORTED_LOCATION ${boringssl_${part}_library}
    INTERFACE_INCLUDE_DIRECTORIES ${boringssl_include})
endforeach()
set_property(TARGET boringssl_crypto PROPERTY INTERFACE_LINK_LIBRARIES Threads::Threads)
set_property(TARGET boringssl_ssl PROPERTY INTERFACE_LINK_LIBRARIES boringssl_crypto)
if(boringssl_kind STREQUAL "STATIC")
  # Nothing else in the process may take these symbols for OpenSSL's. (Of these libraries only: the sanitizers' malloc and free,
  # which clang links statically, must stay visible, or shared libraries free by libc what they were given by those.)
  set_property(TARGET boringssl_crypto PROPERTY INTERFACE_LINK_OPTIONS -Wl,--exclude-libs,libcrypto.a:libssl.a)
endif()
