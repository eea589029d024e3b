/* How often a test repeats what it does: a round costs several times as much under a sanitizer, which needs fewer of them. */
#ifndef ANG_TEST_ROUNDS_H
#define ANG_TEST_ROUNDS_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROUNDS(usual, sanitized) (sanitized)
#else
#define ROUNDS(usual, sanitized) (usual)
#endif

#endif
