"""What the engine is handed says the same as ComfyUI itself would."""

from __future__ import annotations

import types

import pytest
import torch


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("adapters"))


@pytest.fixture
def encoder(models):
    from textual_inversion.host.text_encoder import ClipTextEncoder

    return ClipTextEncoder(models.clip, "clip_l")


@pytest.mark.parametrize("skip", [None, -2])
@pytest.mark.parametrize("prompt", ["a photo of a {} on the table", "{}", "a {}'s house, at night"])
def test_a_known_word_as_vectors_encodes_as_the_word(models, encoder, prompt, skip):
    clip = models.clip.clone()
    clip.clip_layer(skip)
    encoder.clip = clip
    vectors = encoder.token_vectors("dog")
    with torch.inference_mode():
        expected, pooled = clip.encode_from_tokens(
            clip.tokenize(prompt.replace("{}", "dog")), return_pooled=True
        )
        text = encoder.encode([encoder.tokenize(prompt, 1)], vectors)
    assert torch.allclose(text.context, expected, atol=1e-5)
    assert torch.allclose(text.pooled, pooled, atol=1e-5)


def test_an_embedding_trained_and_used_meets_the_same_rows(models, encoder):
    from textual_inversion.embeddings_io.embedding import Embedding
    from textual_inversion.host.clip_with import clip_with

    vectors = {"clip_l": 0.0139 * torch.randn(3, 768, generator=torch.Generator().manual_seed(0))}
    knowing = clip_with(models.clip, [Embedding("word", vectors)])
    with torch.inference_mode():
        for prompt in ("a photo of {}", "{} , on a table", "this is {} again"):
            used = knowing.encode_from_tokens(
                knowing.tokenize(prompt.replace("{}", "embedding:word"))
            )
            trained = encoder.encode([encoder.tokenize(prompt, 3)], vectors).context
            assert torch.allclose(trained, used, atol=1e-5), prompt


def test_many_prompts_in_one_batch_encode_as_one_by_one(encoder):
    vectors = {"clip_l": torch.full((2, 768), 0.01)}
    prompts = [encoder.tokenize(p, 2) for p in ("{}", "a {} b", "a long prompt with {} in it")]
    with torch.inference_mode():
        together = encoder.encode(prompts, vectors).context
        alone = torch.cat([encoder.encode([prompt], vectors).context for prompt in prompts])
    assert torch.allclose(together, alone, atol=1e-5)


def test_pooled_output_is_taken_at_the_end_token(models, encoder):
    vectors = {"clip_l": torch.full((4, 768), 0.01)}
    tokens = encoder.tokenize("a {} here", 4)
    end = tokens["clip_l"].items.index(49407)
    with torch.inference_mode():
        text = encoder.encode([tokens], vectors)
    transformer = models.clip.cond_stage_model.clip_l.transformer
    projection = getattr(transformer, "text_projection", None)
    at_end = text.context[0, end]
    assert torch.allclose(text.pooled[0], at_end, atol=1e-4) or projection is not None
    assert (text.context[0] - text.pooled[0]).norm(dim=-1).argmin().item() == end


def test_brackets_in_a_caption_are_words_not_weights(models, encoder):
    row = encoder.tokenize("a (red:1.5) {}", 1)["clip_l"]
    plain = models.clip.tokenizer.clip_l.tokenizer("a (red:1.5)")["input_ids"][1:-1]
    assert list(row.items[1 : 1 + len(plain)]) == plain


def test_the_vocabulary_norm_is_that_of_the_table(models, encoder):
    table = models.clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    expected = table.float().norm(dim=1).mean().item()
    assert encoder.vocabulary_norm("clip_l") == pytest.approx(expected)
    assert encoder.token_vectors("").get("clip_l").shape == (0, 768)


def test_the_denoiser_reads_the_models_own_schedule(models):
    from textual_inversion.host.borrow import borrow
    from textual_inversion.host.denoiser import ModelDenoiser

    with (
        torch.inference_mode(),
        borrow(models.model, models.clip, batch_size=1, latent_area=64) as lent,
    ):
        denoiser = ModelDenoiser(lent)
        assert denoiser.prediction == "eps" and denoiser.loss_scale == 1.0
        assert denoiser.sigmas.shape == (1000,)
        assert denoiser.sigmas[-1].item() == pytest.approx(14.6146, rel=1e-3)
        latents, noise = torch.ones(2, 4, 8, 8), torch.full((2, 4, 8, 8), 2.0)
        noisy = denoiser.add_noise(latents, noise, torch.tensor([0.5, 3.0]))
        assert noisy[0].unique().tolist() == [2.0] and noisy[1].unique().tolist() == [7.0]
        assert noise.unique().tolist() == [2.0]


def test_a_v_prediction_model_is_recognised(models):
    import comfy.model_base
    import comfy.model_sampling

    from textual_inversion.host.borrow import Lent
    from textual_inversion.host.denoiser import ModelDenoiser
    from textual_inversion.host.families import UnsupportedModelError

    config = models.model.model.model_config
    kinds = comfy.model_base.ModelType
    changed = models.model.clone()
    lent = Lent(changed, models.clip, {}, None)
    sampling = comfy.model_base.model_sampling(config, kinds.V_PREDICTION)
    changed.add_object_patch("model_sampling", sampling)
    assert ModelDenoiser(lent).prediction == "v"
    for kind in (kinds.FLOW, kinds.EDM):
        changed.add_object_patch("model_sampling", comfy.model_base.model_sampling(config, kind))
        with pytest.raises(UnsupportedModelError, match="not supported yet"):
            ModelDenoiser(lent)


def test_latents_are_those_of_the_vae_in_the_models_scale_and_the_vae_leaves(models):
    from comfy import model_management

    from textual_inversion.host.latents import cache_latents
    from textual_inversion.tests.host.loaded_models import pictures
    from textual_inversion.training.pictures import prepare

    images = pictures()
    with torch.inference_mode():
        expected = models.model.model.process_latent_in(models.vae.encode(images))
        cached = cache_latents(
            models.model, models.vae, prepare([images], (), resolution=512, flip=False)
        )
    for picture, latent in zip(cached, expected, strict=True):
        assert torch.allclose(picture.mean, latent, atol=1e-5) and picture.std is None
        assert not picture.mean.is_inference()
    loaded = [each.model for each in model_management.current_loaded_models]
    assert models.vae.patcher not in loaded
    assert torch.equal(models.sample(steps=1), models.sample(steps=1))


def test_an_autoencoder_with_a_distribution_gives_mean_and_std(models):
    from comfy.ldm.models.autoencoder import AutoencoderKL

    from textual_inversion.host.latents import cache_latents
    from textual_inversion.training.pictures import Picture

    torch.manual_seed(0)
    shape = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    inside = AutoencoderKL(ddconfig=shape, embed_dim=4).eval()
    for parameter in inside.parameters():
        torch.nn.init.normal_(parameter, std=0.05)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return inside.encode(pixels.movedim(-1, 1) * 2 - 1)

    vae = types.SimpleNamespace(first_stage_model=inside, encode=encode, patcher=None)
    pixels = torch.rand(64, 64, 3)
    cached = cache_latents(models.model, vae, [Picture(pixels, 0)])[0]
    with torch.no_grad():
        moments = inside.quant_conv(inside.encoder(pixels.movedim(-1, 0)[None] * 2 - 1))
    mean, log_variance = moments.chunk(2, dim=1)
    factor = models.model.model.latent_format.scale_factor
    assert torch.allclose(cached.mean, mean[0] * factor, atol=1e-5)
    assert torch.allclose(cached.std, (0.5 * log_variance[0]).exp() * factor, atol=1e-4)
    assert not inside.regularization._forward_pre_hooks


def test_latents_of_nan_are_refused(models):
    from textual_inversion.host.latents import cache_latents
    from textual_inversion.training.pictures import Picture, PictureError

    vae = types.SimpleNamespace(
        first_stage_model=None, patcher=None, encode=lambda x: torch.full((1, 4, 8, 8), torch.nan)
    )
    with pytest.raises(PictureError, match="picture 1"):
        cache_latents(models.model, vae, [Picture(torch.rand(64, 64, 3), 0)])


def stub(name: str, **unet):
    config = type(name, (), {"unet_config": unet})()
    return types.SimpleNamespace(model=types.SimpleNamespace(model_config=config))


TRAINABLE = {"SD15", "SD20", "SDXL", "SSD1B", "KOALA_700M", "KOALA_1B", "Segmind_Vega"}


def test_every_family_is_either_trained_or_named_with_its_reason(models):
    """All that this ComfyUI knows, with the shapes by which it knows them."""
    import comfy.supported_models

    from textual_inversion.host.families import UnsupportedModelError, model_family

    trained, refused = set(), {}
    for family in comfy.supported_models.models:
        unet = {"in_channels": 4} | {
            key: None if value is None else value for key, value in family.unet_config.items()
        }
        try:
            model_family(stub(family.__name__, **unet))
            trained.add(family.__name__)
        except UnsupportedModelError as error:
            refused[family.__name__] = str(error)
    assert trained == TRAINABLE
    assert len(refused) > 40
    for name, sentence in refused.items():
        assert name in sentence and sentence.endswith(".") and "\n" not in sentence


def test_a_model_that_edits_or_fills_in_is_named(models):
    from textual_inversion.host.families import UnsupportedModelError, model_family

    for channels in (8, 9):
        fills = stub("SDXL", context_dim=2048, adm_in_channels=2816, in_channels=channels)
        with pytest.raises(UnsupportedModelError, match=rf"SDXL.*{channels} latent channels"):
            model_family(fills)


def test_model_and_clip_that_do_not_belong_together_are_found(models):
    from textual_inversion.host.families import UnsupportedModelError, identify

    table = types.SimpleNamespace(weight=torch.zeros(4, 1024))
    transformer = types.SimpleNamespace(get_input_embeddings=lambda: table)
    inside = types.SimpleNamespace(clip_h=types.SimpleNamespace(transformer=transformer))
    other = types.SimpleNamespace(patcher=types.SimpleNamespace(model=inside))
    with pytest.raises(UnsupportedModelError, match=r"belong together.*768.*clip_h \(1024 wide\)"):
        identify(models.model, other)
    assert identify(models.model, models.clip).name == "Stable Diffusion 1.x"
