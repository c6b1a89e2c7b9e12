/* Writing .safetensors: what is written is read back bit by bit, from any strides, and the layout
 * of the file follows the format's own writer. */
#include "files.h"

static fasc_device *cpu(void)
{
    fasc_device *device = NULL;
    CHECK_OK(fasc_device_open("cpu", &device));
    return device;
}

/* A contiguous tensor of bytes that differ. */
static fasc_tensor *tensor(fasc_dtype dtype, int32_t rank, const int64_t *shape)
{
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_tensor_empty(cpu(), dtype, rank, shape, &t));
    size_t bytes = (size_t)fasc_tensor_numel(t) * fasc_dtype_size(dtype);
    unsigned char *data = fasc_tensor_data(t);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (unsigned char)(i * 7 + i / 251 + (size_t)dtype);
    }
    return t;
}

static const char *save_one(const char *name, const fasc_tensor *t)
{
    const char *path = test_path("one.safetensors");
    CHECK_OK(fasc_save_safetensors(path, 1, &name, &t, 0, NULL));
    return path;
}

static fasc_tensor *load_one(const char *path)
{
    fasc_file *file = NULL;
    fasc_tensor *t = NULL;
    CHECK_OK(fasc_file_open(path, &file));
    CHECK_OK(fasc_file_read(file, 0, &t));
    fasc_file_close(file);
    return t;
}

static void every_dtype_comes_back_bit_by_bit(void)
{
    for (int32_t dtype = FASC_F16; dtype <= FASC_U8; dtype++) {
        const int64_t shape[] = {3, 5, 7};
        fasc_tensor *t = tensor((fasc_dtype)dtype, 3, shape);
        fasc_tensor *back = load_one(save_one("x", t));
        CHECK(fasc_tensor_dtype(back) == (fasc_dtype)dtype, "dtype %d came back as %d", dtype,
              (int)fasc_tensor_dtype(back));
        CHECK(memcmp(fasc_tensor_shape(back), shape, sizeof shape) == 0, "dtype %d", dtype);
        CHECK(memcmp(fasc_tensor_data(back), fasc_tensor_data(t),
                     105 * fasc_dtype_size((fasc_dtype)dtype)) == 0,
              "dtype %d: other bytes", dtype);
        fasc_tensor_free(t);
        fasc_tensor_free(back);
    }
}

static void ranks_0_to_8_and_zero_sizes_come_back(void)
{
    const int64_t ones[] = {2, 1, 3, 1, 2, 1, 2, 1}, none[] = {4, 0, 2};
    for (int32_t rank = 0; rank <= 8; rank++) {
        fasc_tensor *t = tensor(FASC_F32, rank, ones);
        fasc_tensor *back = load_one(save_one("x", t));
        CHECK(fasc_tensor_rank(back) == rank, "%d", fasc_tensor_rank(back));
        CHECK(fasc_tensor_numel(back) == fasc_tensor_numel(t), "rank %d", rank);
        CHECK(memcmp(fasc_tensor_data(back), fasc_tensor_data(t),
                     4 * (size_t)fasc_tensor_numel(t)) == 0,
              "rank %d: other bytes", rank);
        fasc_tensor_free(t);
        fasc_tensor_free(back);
    }
    fasc_tensor *t = tensor(FASC_F32, 3, none);
    fasc_tensor *back = load_one(save_one("x", t));
    CHECK(fasc_tensor_rank(back) == 3 && fasc_tensor_shape(back)[1] == 0, "rank %d",
          fasc_tensor_rank(back));
    fasc_tensor_free(t);
    fasc_tensor_free(back);
}

static void check_saved(const fasc_tensor *t, const char *label)
{
    fasc_difference difference = {.size = sizeof difference};
    fasc_tensor *back = load_one(save_one("x", t));
    CHECK(fasc_tensor_is_contiguous(back), "%s", label);
    CHECK_OK(fasc_tensor_compare(back, t, &difference));
    CHECK(difference.max_abs == 0 && difference.mismatch == 0, "%s: %g, %lld differ", label,
          difference.max_abs, (long long)difference.mismatch);
    fasc_tensor_free(back);
}

/* Less than the piece that a strided tensor is copied through, and more. */
static void strided_tensors_are_written_in_row_major_order(void)
{
    static const int64_t SHAPE[][3] = {{3, 4, 5}, {1500, 2, 1500}};
    for (size_t n = 0; n < sizeof SHAPE / sizeof *SHAPE; n++) {
        const int64_t *s = SHAPE[n];
        const int64_t turned[] = {s[2], s[1], s[0]}, stride[] = {1, s[2], s[1] * s[2]};
        fasc_tensor *t = tensor(FASC_F32, 3, s), *view = NULL;
        CHECK_OK(fasc_tensor_view(t, 0, 3, turned, stride, &view));
        check_saved(view, n ? "large" : "small");
        fasc_tensor_free(t);
        fasc_tensor_free(view);
    }
}

/* 2 x 2 rows that are longer than a piece, with a gap after each. */
static void rows_longer_than_a_piece_are_written_whole(void)
{
    const int64_t row = 17000000, shape[] = {2, 2, row}, stride[] = {2 * row + 9, row + 1, 1};
    fasc_tensor *t;
    CHECK_OK(fasc_tensor_empty_strided(cpu(), FASC_U8, 3, shape, stride, &t));
    for (int64_t i = 0; i < 4; i++) {
        unsigned char *x = fasc_tensor_data(t);
        x += i / 2 * stride[0] + i % 2 * stride[1];
        for (int64_t j = 0; j < row; j++) {
            x[j] = (unsigned char)(i + j + j / 255);
        }
    }
    check_saved(t, "long rows");
    fasc_tensor_free(t);
}

static void data_is_aligned_and_sorted_whatever_the_order_given(void)
{
    const int64_t three = 3, five = 5;
    fasc_tensor *t[] = {tensor(FASC_U8, 1, &five), tensor(FASC_F64, 1, &three),
                        tensor(FASC_F16, 1, &three), tensor(FASC_I64, 1, &three)};
    const char *const names[] = {"bytes", "z", "half", "a"};
    const char *const sorted[] = {"a", "z", "half", "bytes"};
    const char *const reversed_names[] = {"a", "half", "z", "bytes"};
    const fasc_tensor *const reversed[] = {t[3], t[2], t[1], t[0]};
    const char *one = test_path("1.safetensors"), *two = test_path("2.safetensors");
    CHECK_OK(fasc_save_safetensors(one, 4, names, (const fasc_tensor *const *)t, 0, NULL));
    CHECK_OK(fasc_save_safetensors(two, 4, reversed_names, reversed, 0, NULL));
    CHECK(same_bytes(one, two), "the order of the arguments shows in the file");
    fasc_file *file;
    CHECK_OK(fasc_file_open(one, &file));
    for (int32_t i = 0; i < 4; i++) {
        fasc_file_tensor info = {.size = sizeof info};
        CHECK_OK(fasc_file_tensor_info(file, i, &info));
        CHECK(strcmp(info.name, sorted[i]) == 0, "%d: %s", i, info.name);
        CHECK(info.offset % (int64_t)fasc_dtype_size((fasc_dtype)info.dtype) == 0,
              "%s lies at %lld", info.name, (long long)info.offset);
    }
    fasc_file_close(file);
    for (int i = 0; i < 4; i++) {
        fasc_tensor_free(t[i]);
    }
}

/* The whole file, written out by hand. */
static void a_small_file_has_exactly_these_bytes(void)
{
    static const char EXPECTED[] = "\x58\0\0\0\0\0\0\0"
                                   "{\"__metadata__\":{\"by\":\"\\\"x\\\"\\n\"},"
                                   "\"q\":{\"dtype\":\"U8\",\"shape\":[2,1],\"data_offsets\":[0,2]}"
                                   "} \x07\x0e";
    const int64_t shape[] = {2, 1};
    fasc_tensor *t = tensor(FASC_U8, 2, shape);
    const char *name = "q", *path = test_path("small.safetensors");
    const char *const metadata[] = {"by", "\"x\"\n"};
    CHECK_OK(fasc_save_safetensors(path, 1, &name, (const fasc_tensor *const *)&t, 1, metadata));
    CHECK(same_bytes(path, write_bytes("expected", EXPECTED, sizeof EXPECTED - 1)), "%s differs",
          path);
    fasc_tensor_free(t);
}

static void metadata_and_odd_names_come_back(void)
{
    const int64_t one = 1;
    fasc_tensor *t = tensor(FASC_F32, 1, &one);
    const fasc_tensor *tensors[] = {t, t};
    const char *const names[] = {"", "layers.0/\xc3\xa9\"\\\n\x01"};
    const char *const metadata[] = {"format", "pt", "\xf0\x9f\x98\x80", "", "", "x\ty"};
    const char *path = test_path("odd.safetensors"), *key, *value;
    fasc_file *file;
    CHECK_OK(fasc_save_safetensors(path, 2, names, tensors, 3, metadata));
    CHECK_OK(fasc_file_open(path, &file));
    for (int32_t i = 0; i < 3; i++) {
        CHECK_OK(fasc_file_metadata(file, i, &key, &value));
        CHECK(strcmp(key, metadata[2 * i]) == 0 && strcmp(value, metadata[2 * i + 1]) == 0,
              "%d: %s = %s", i, key, value);
    }
    for (int32_t i = 0; i < 2; i++) {
        fasc_file_tensor info = {.size = sizeof info};
        CHECK_OK(fasc_file_tensor_info(file, i, &info));
        CHECK(strcmp(info.name, names[i]) == 0, "%d: %s", i, info.name);
    }
    fasc_file_close(file);
    fasc_tensor_free(t);
}

static void nothing_at_all_can_be_saved(void)
{
    fasc_file *file;
    const char *path = test_path("none.safetensors");
    CHECK_OK(fasc_save_safetensors(path, 0, NULL, NULL, 0, NULL));
    CHECK_OK(fasc_file_open(path, &file));
    CHECK(fasc_file_tensor_count(file) == 0, "%d", fasc_file_tensor_count(file));
    fasc_file_close(file);
}

static void wrong_arguments_are_refused_before_anything_is_written(void)
{
    const int64_t one = 1;
    fasc_tensor *t = tensor(FASC_F32, 1, &one);
    const fasc_tensor *tensors[] = {t, t}, *missing[] = {t, NULL};
    const char *const twice[] = {"a", "a"}, *const good[] = {"a", "b"};
    const char *const reserved[] = {"a", "__metadata__"}, *const broken[] = {"a", "\xff"};
    const char *const overlong[] = {"a", "\xc0\xaf"};
    const char *const key_twice[] = {"k", "1", "k", "2"}, *const no_value[] = {"k", NULL};
    const char *const bad_value[] = {"k", "\xed\xa0\x80"};
    const char *path = test_path("never.safetensors");
    CHECK_FAIL(fasc_save_safetensors(path, 2, twice, tensors, 0, NULL), FASC_EINVAL,
               "'a' is given twice");
    CHECK_FAIL(fasc_save_safetensors(path, 2, reserved, tensors, 0, NULL), FASC_EINVAL,
               "'__metadata__' is the format's own");
    CHECK_FAIL(fasc_save_safetensors(path, 2, broken, tensors, 0, NULL), FASC_EINVAL,
               "'\\xff' is no UTF-8");
    CHECK_FAIL(fasc_save_safetensors(path, 2, overlong, tensors, 0, NULL), FASC_EINVAL,
               "'\\xc0\\xaf' is no UTF-8");
    CHECK_FAIL(fasc_save_safetensors(path, 2, good, missing, 0, NULL), FASC_EINVAL, "tensors");
    CHECK_FAIL(fasc_save_safetensors(path, 2, NULL, tensors, 0, NULL), FASC_EINVAL, "names");
    CHECK_FAIL(fasc_save_safetensors(path, 2, good, tensors, 2, key_twice), FASC_EINVAL,
               "metadata: key 'k' is given twice");
    CHECK_FAIL(fasc_save_safetensors(path, 2, good, tensors, 1, no_value), FASC_EINVAL,
               "metadata value: is NULL");
    CHECK_FAIL(fasc_save_safetensors(path, 2, good, tensors, 1, bad_value), FASC_EINVAL,
               "no UTF-8");
    CHECK_FAIL(fasc_save_safetensors(path, -1, good, tensors, 0, NULL), FASC_EINVAL, "count: -1");
    CHECK_FAIL(fasc_save_safetensors(NULL, 2, good, tensors, 0, NULL), FASC_EINVAL,
               "path: is NULL");
    CHECK(access(path, F_OK) != 0, "%s exists", path);
    fasc_tensor_free(t);
}

TEST_MAIN(every_dtype_comes_back_bit_by_bit, ranks_0_to_8_and_zero_sizes_come_back,
          strided_tensors_are_written_in_row_major_order,
          rows_longer_than_a_piece_are_written_whole,
          data_is_aligned_and_sorted_whatever_the_order_given, a_small_file_has_exactly_these_bytes,
          metadata_and_odd_names_come_back, nothing_at_all_can_be_saved,
          wrong_arguments_are_refused_before_anything_is_written)
