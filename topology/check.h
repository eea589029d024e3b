/* What every command and every query must satisfy, whoever is asked (contract 1 and 10; the texts are part of it).  Any thread. */
#ifndef ANG_TOPOLOGY_CHECK_H
#define ANG_TOPOLOGY_CHECK_H

#include "proto/frame.h"
#include "rpc/rpc.h"
#include "topology/topology.h"

/* message: the name of the one that the cover is of. */
struct ang_status *ang_check_command(const struct ang_topology *t, const char *message,
                                     const struct ang_wire_cover *cover,
                                     const struct ang_domain **ret_domain) ANG_MUST_USE;
/* *ret_domain is NULL when no domain was named; as in the next one. */
struct ang_status *ang_check_query(const struct ang_topology *t, const struct ang_wire_query *q,
                                   const struct ang_domain **ret_domain) ANG_MUST_USE;
/* What is given of a cover is good; nothing need be given. */
struct ang_status *ang_check_filter(const struct ang_topology *t, const struct ang_wire_cover *cover,
                                    const struct ang_domain **ret_domain) ANG_MUST_USE;

#endif
