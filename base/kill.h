/* Kill points: places where a test may end the process as a power cut would.
 *
 * ANGZARR_KILL=name[:n] in the environment: the n-th pass (default: the first) of the point `name` raises SIGKILL.
 * ANGZARR_STALL=name:ms: every pass of that point takes so long, as on a thread that is not scheduled.
 * Compiled in only with ANG_KILL_POINTS (dev, asan and tsan builds); a release has no trace of them. */
#ifndef ANG_KILL_H
#define ANG_KILL_H

#ifdef ANG_KILL_POINTS
void ang_kill_point(const char *name); /* @thread any */
#define ANG_KILL_POINT(name) ang_kill_point(name)
#else
#define ANG_KILL_POINT(name) ((void)0)
#endif

#endif
