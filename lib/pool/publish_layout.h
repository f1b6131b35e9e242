/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PUBLISH_LAYOUT_H
#define RDM_PUBLISH_LAYOUT_H

/*
 * picture_layout.h by the names that it had: programs of others that read or make such pages were
 * written against these. Nothing of ours includes it.
 */

#include "picture_layout.h"

#define RDM_PAGE_NAME RDM_PICTURE_NAME
#define RDM_PAGE_MAGIC RDM_PICTURE_MAGIC
#define RDM_PAGE_VERSION RDM_PICTURE_VERSION

#define RDM_PAGE_POOLS RDM_PICTURE_POOLS
#define RDM_PAGE_SLABS RDM_PICTURE_SLABS
#define RDM_PAGE_CELLS RDM_PICTURE_CELLS
#define RDM_PAGE_RAILS RDM_PICTURE_RAILS

#define rdm_page_flags rdm_picture_flags
#define RDM_PAGE_PRELOAD RDM_PICTURE_PRELOAD
#define rdm_page_pool_flags rdm_picture_pool_flags
#define RDM_PAGE_POOL_INHERITED RDM_PICTURE_POOL_INHERITED
#define RDM_PAGE_POOL_PLAIN RDM_PICTURE_POOL_PLAIN
#define RDM_PAGE_POOL_HERITABLE RDM_PICTURE_POOL_HERITABLE

#define rdm_page_header rdm_picture_header
#define rdm_page_pool rdm_picture_pool
#define rdm_page_slab rdm_picture_slab
#define rdm_page_cell rdm_picture_cell

#endif
