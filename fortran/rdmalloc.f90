! SPDX-License-Identifier: BSD-2-Clause
!
! rdmalloc for Fortran 2008: the functions of rdmalloc.h through ISO_C_BINDING, with their names,
! and pointers to arrays in blocks of a pool. A program compiles this file with its own compiler,
! for no two share their .mod files, and links -lrdmalloc.
!
! Errors are those of C: a function's result is negative, or a c_null_ptr, and one line on stderr
! says what to do. Threads and fork() are as in rdmalloc.h, too.
module rdmalloc
   use, intrinsic :: iso_c_binding
   use, intrinsic :: iso_fortran_env, only: int8, int32, int64, real32, real64
   implicit none
   private

   integer(c_int), parameter, public :: RDM_BACKING_DEFAULT = 0, RDM_BACKING_ANON = 1, &
      RDM_BACKING_HUGETLB = 2, RDM_BACKING_SHARED = 3
   integer(c_int), parameter, public :: RDM_PAGES_DEFAULT = 0, RDM_PAGES_BEST = 1, &
      RDM_PAGES_BASE = 2, RDM_PAGES_THP = 3, RDM_PAGES_2M = 4, RDM_PAGES_1G = 5
   integer(c_int), parameter, public :: RDM_FORK_DEFAULT = 0, RDM_FORK_HOLE = 1, &
      RDM_FORK_ZERO = 2, RDM_FORK_COPY = 3

   ! Made by rdm_pool_config_init(), which sets the first field.
   type, bind(c), public :: rdm_pool_config
      integer(c_size_t) :: size = 0
      type(c_ptr) :: name = c_null_ptr ! of a string that ends with c_null_char
      integer(c_size_t) :: slab_size = 0
      integer(c_size_t) :: limit = 0
      integer(c_int) :: backing = RDM_BACKING_DEFAULT
      integer(c_int) :: pages = RDM_PAGES_DEFAULT
      integer(c_int) :: fork = RDM_FORK_DEFAULT
      integer(c_int) :: node = -1
      integer(c_size_t) :: watermark = 0
   end type

   type, bind(c), public :: rdm_mr
      integer(c_int32_t) :: lkey = 0, rkey = 0
      type(c_ptr) :: handle = c_null_ptr
   end type

   ! Made by rdm_registrar_init(). The functions are bind(c), as struct rdm_registrar has them.
   type, bind(c), public :: rdm_registrar
      integer(c_size_t) :: size = 0
      type(c_ptr) :: name = c_null_ptr
      integer(c_size_t) :: max_len = 0
      type(c_funptr) :: reg = c_null_funptr, dereg = c_null_funptr
   end type

   ! struct rdm_key: here the function has the name.
   type, bind(c), public :: rdm_keys
      integer(c_int32_t) :: lkey = 0, rkey = 0
      type(c_ptr) :: handle = c_null_ptr
      type(c_ptr) :: base = c_null_ptr
      integer(c_size_t) :: length = 0
   end type

   type, bind(c), public :: rdm_stats
      integer(c_size_t) :: size = 0
      integer(c_size_t) :: slabs = 0, slab_bytes = 0, carved_bytes = 0, live_bytes = 0, &
         live_blocks = 0, magazine_bytes = 0, depot_bytes = 0, limit = 0, rails = 0, quarantined = 0
      integer(c_int64_t) :: registrations = 0, deregistrations = 0, growths = 0, &
         background_growths = 0, forks = 0, last_fork_ns = 0
      integer(c_int) :: inherited = 0
   end type

   public :: rdm_pool_config_init, rdm_registrar_init, rdm_stats_init
   public :: rdm_pool_create, rdm_pool_destroy, rdm_pool_reset, rdm_pool_add_rail, &
      rdm_pool_add_verbs, rdm_pool_remove_rail, rdm_pool_reserve, rdm_pool_trim, rdm_pool_stats
   public :: rdm_malloc, rdm_calloc, rdm_aligned_alloc, rdm_realloc, rdm_free, rdm_usable_size, &
      rdm_pool_of, rdm_key, rdm_thread_flush
   public :: rdm_allocate, rdm_deallocate

   interface
      function rdm_pool_create(config) bind(c) result(pool)
         import :: rdm_pool_config, c_ptr
         type(rdm_pool_config), intent(in), optional :: config
         type(c_ptr) :: pool
      end function

      integer(c_int) function rdm_pool_destroy(pool) bind(c)
         import :: c_ptr, c_int
         type(c_ptr), value :: pool
      end function

      integer(c_int) function rdm_pool_reset(pool) bind(c)
         import :: c_ptr, c_int
         type(c_ptr), value :: pool
      end function

      integer(c_int) function rdm_pool_add_rail(pool, registrar, context) bind(c)
         import :: c_ptr, c_int, rdm_registrar
         type(c_ptr), value :: pool
         type(rdm_registrar), intent(in) :: registrar
         type(c_ptr), value :: context
      end function

      integer(c_int) function rdm_pool_add_verbs(pool, pd, access) bind(c)
         import :: c_ptr, c_int
         type(c_ptr), value :: pool, pd
         integer(c_int), value :: access
      end function

      integer(c_int) function rdm_pool_remove_rail(pool, rail) bind(c)
         import :: c_ptr, c_int
         type(c_ptr), value :: pool
         integer(c_int), value :: rail
      end function

      integer(c_int) function rdm_pool_reserve(pool, bytes) bind(c)
         import :: c_ptr, c_int, c_size_t
         type(c_ptr), value :: pool
         integer(c_size_t), value :: bytes
      end function

      integer(c_int) function rdm_pool_trim(pool, keep) bind(c)
         import :: c_ptr, c_int, c_size_t
         type(c_ptr), value :: pool
         integer(c_size_t), value :: keep
      end function

      integer(c_int) function rdm_pool_stats(pool, stats) bind(c)
         import :: c_ptr, c_int, rdm_stats
         type(c_ptr), value :: pool
         type(rdm_stats), intent(inout) :: stats
      end function

      function rdm_malloc(pool, size) bind(c) result(block)
         import :: c_ptr, c_size_t
         type(c_ptr), value :: pool
         integer(c_size_t), value :: size
         type(c_ptr) :: block
      end function

      function rdm_calloc(pool, count, size) bind(c) result(block)
         import :: c_ptr, c_size_t
         type(c_ptr), value :: pool
         integer(c_size_t), value :: count, size
         type(c_ptr) :: block
      end function

      function rdm_aligned_alloc(pool, alignment, size) bind(c) result(block)
         import :: c_ptr, c_size_t
         type(c_ptr), value :: pool
         integer(c_size_t), value :: alignment, size
         type(c_ptr) :: block
      end function

      function rdm_realloc(pool, ptr, size) bind(c) result(block)
         import :: c_ptr, c_size_t
         type(c_ptr), value :: pool, ptr
         integer(c_size_t), value :: size
         type(c_ptr) :: block
      end function

      subroutine rdm_free(ptr) bind(c)
         import :: c_ptr
         type(c_ptr), value :: ptr
      end subroutine

      integer(c_size_t) function rdm_usable_size(ptr) bind(c)
         import :: c_ptr, c_size_t
         type(c_ptr), value :: ptr
      end function

      function rdm_pool_of(ptr) bind(c) result(pool)
         import :: c_ptr
         type(c_ptr), value :: ptr
         type(c_ptr) :: pool
      end function

      integer(c_int) function rdm_key(ptr, rail, key) bind(c)
         import :: c_ptr, c_int, rdm_keys
         type(c_ptr), value :: ptr
         integer(c_int), value :: rail
         type(rdm_keys), intent(out) :: key
      end function

      subroutine rdm_thread_flush() bind(c)
      end subroutine
   end interface

   ! call rdm_allocate(pool, array, shape): array => zeros in a block of the pool; a null pointer
   ! where there is none to be had.
   interface rdm_allocate
      module procedure allocate_int8, allocate_int32, allocate_int64
      module procedure allocate_real32, allocate_real32_2, allocate_real32_3
      module procedure allocate_real64, allocate_real64_2, allocate_real64_3
   end interface

   ! The whole array, as rdm_allocate made it.
   interface rdm_deallocate
      module procedure deallocate_int8, deallocate_int32, deallocate_int64
      module procedure deallocate_real32, deallocate_real32_2, deallocate_real32_3
      module procedure deallocate_real64, deallocate_real64_2, deallocate_real64_3
   end interface

contains

   type(rdm_pool_config) function rdm_pool_config_init() result(config)
      config%size = c_sizeof(config)
   end function

   type(rdm_registrar) function rdm_registrar_init() result(registrar)
      registrar%size = c_sizeof(registrar)
   end function

   type(rdm_stats) function rdm_stats_init() result(stats)
      stats%size = c_sizeof(stats)
   end function

   function zeros(pool, elements, bytes) result(block)
      type(c_ptr), intent(in) :: pool
      integer, intent(in) :: elements(:), bytes
      type(c_ptr) :: block

      block = rdm_calloc(pool, product(int(elements, c_size_t)), int(bytes, c_size_t))
   end function

   subroutine allocate_int8(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      integer(int8), pointer, intent(out) :: array(:)
      integer, intent(in) :: shape(1)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 1)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_int8(array)
      integer(int8), pointer, intent(inout) :: array(:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_int32(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      integer(int32), pointer, intent(out) :: array(:)
      integer, intent(in) :: shape(1)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 4)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_int32(array)
      integer(int32), pointer, intent(inout) :: array(:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_int64(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      integer(int64), pointer, intent(out) :: array(:)
      integer, intent(in) :: shape(1)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 8)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_int64(array)
      integer(int64), pointer, intent(inout) :: array(:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_real32(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      real(real32), pointer, intent(out) :: array(:)
      integer, intent(in) :: shape(1)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 4)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_real32(array)
      real(real32), pointer, intent(inout) :: array(:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_real32_2(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      real(real32), pointer, intent(out) :: array(:,:)
      integer, intent(in) :: shape(2)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 4)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_real32_2(array)
      real(real32), pointer, intent(inout) :: array(:,:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_real32_3(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      real(real32), pointer, intent(out) :: array(:,:,:)
      integer, intent(in) :: shape(3)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 4)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_real32_3(array)
      real(real32), pointer, intent(inout) :: array(:,:,:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_real64(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      real(real64), pointer, intent(out) :: array(:)
      integer, intent(in) :: shape(1)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 8)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_real64(array)
      real(real64), pointer, intent(inout) :: array(:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_real64_2(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      real(real64), pointer, intent(out) :: array(:,:)
      integer, intent(in) :: shape(2)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 8)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_real64_2(array)
      real(real64), pointer, intent(inout) :: array(:,:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

   subroutine allocate_real64_3(pool, array, shape)
      type(c_ptr), intent(in) :: pool
      real(real64), pointer, intent(out) :: array(:,:,:)
      integer, intent(in) :: shape(3)
      type(c_ptr) :: block

      nullify (array)
      block = zeros(pool, shape, 8)
      if (c_associated(block)) call c_f_pointer(block, array, shape)
   end subroutine

   subroutine deallocate_real64_3(array)
      real(real64), pointer, intent(inout) :: array(:,:,:)

      if (associated(array)) call rdm_free(c_loc(array))
      nullify (array)
   end subroutine

end module
