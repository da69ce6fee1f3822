"""Two gloo processes of which one has images without labels alone."""

import os

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import distributed, multiprocessing, nn

import wkd_det  # noqa: F401  registers everything, also in the processes started here
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    distilled_config,
    distilled_from,
    image_batch,
    module_term,
    random_batch,
    save_classifier,
    save_detector,
    tiny_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

SIZES = [(96, 128)] * 4
LABELLED = (0, 1)  # the images of the first process
TERMS = dict(
    loss_wkd_l=wkd_l_term(separated=False),
    loss_wkd_f=wkd_f_term(),
    loss_wkd_f_neck=wkd_f_neck_term(),
)
DKD = dict(tap='roi_logits', loss=dict(type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0))


def still(model):
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def build(config, **changes):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(config, **changes))
    model.init_weights()
    return still(model)


def teacher_of(folder):
    config = tiny_faster_rcnn(base_channels=12, fpn_channels=24)
    return dict(config=config, checkpoint=str(folder / 'teacher.pth'))


def faster_rcnn(folder, terms):
    """As many RoIs in each image of either kind, so that means over them are means over images."""
    config = distilled_config(teacher_of(folder), terms)
    config.train_cfg.rpn_proposal.max_per_img = 10
    config.train_cfg.rcnn.sampler.update(num=8, add_gt_as_proposals=False)
    return build(config, unlabelled=dict(num_rois=8))


def atss(folder):
    """Its losses are normalised by a number that all processes add up."""
    detector = tiny_detector('ATSS')
    section = dict(config=detector, checkpoint=str(folder / 'atss.pth'))
    terms = dict(loss_wkd_f_neck=wkd_f_neck_term())
    return build(distilled_from(detector, section, terms), unlabelled=dict())


def losses_of(model, chosen):
    inner = getattr(model, 'module', model)
    batch = random_batch(SIZES)
    for place, sample in enumerate(batch['data_samples']):
        if place not in LABELLED:
            nothing = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
            sample.gt_instances = InstanceData(**nothing)
            sample.set_metainfo(dict(labelled=False))
    batch = {key: [values[place] for place in chosen] for key, values in batch.items()}
    data = inner.data_preprocessor(batch, True)
    torch.manual_seed(5)
    return model(data['inputs'], data['data_samples'], mode='loss')


def gradients(model):
    inner = getattr(model, 'module', model)
    return {name: one.grad.clone() for name, one in inner.named_parameters() if one.requires_grad}


def gradients_after(model, chosen, terms_alone=False):
    """Of two steps, since a parameter without gradient stops the second."""
    for _ in range(2):
        model.zero_grad()
        losses = losses_of(model, chosen)
        total, _ = getattr(model, 'module', model).parse_losses(losses)
        terms = getattr(model, 'module', model).distiller.terms
        if terms_alone:
            total = sum(losses[name] for name in terms) + 0.0 * total
        total.backward()
    return gradients(model), {name: 0 for name in losses if name not in terms}


def classifier(folder):
    terms = dict(
        loss_wkd_l=class_logits_term(separated=False),
        loss_wkd_f=module_term(),
    )
    config = classifier_config(
        type='DistilledClassifier',
        data_preprocessor=dict(type='ImagePreprocessor', allow_unlabelled=True),
        teacher=dict(config=classifier_config(), checkpoint=str(folder / 'classifier.pth')),
        distill=terms,
        image_size=32,
    )
    return build(config)


LABELS = [4, 7, 2, -1, -1, -1]


def classifier_gradients(model, chosen):
    inner = getattr(model, 'module', model)
    images, _ = image_batch(6)
    batch = [images[chosen], torch.tensor(LABELS)[chosen]]
    for _ in range(2):
        model.zero_grad()
        losses = model(*inner.data_preprocessor(batch, True), mode='loss')
        inner.parse_losses(losses)[0].backward()
    return gradients(model)


def process(rank, folder):
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    init_default_scope('mmdet')

    def parallel(model):
        return MMDistributedDataParallel(model, broadcast_buffers=False)

    own = [[0, 1], [2, 3]][rank]
    found = {}
    model = parallel(faster_rcnn(folder, TERMS))
    found['terms'], found['tasks'] = gradients_after(model, own, terms_alone=True)
    found['all'], _ = gradients_after(model, own)
    blind = parallel(faster_rcnn(folder, dict(TERMS, loss_dkd=DKD)))
    found['blind'], _ = gradients_after(blind, own)
    found['atss'], _ = gradients_after(parallel(atss(folder)), own)
    shares = [[0, 3, 4], [1, 2, 5]][rank]  # one label and two
    found['classifier'] = classifier_gradients(parallel(classifier(folder)), shares)
    torch.save(found, folder / f'rank{rank}.pth')
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('processes')
    init_default_scope('mmdet')
    names = ['ant', 'bee', 'cat', 'dog']
    save_detector(teacher_of(path)['config'], path / 'teacher.pth', class_names=names)
    save_detector(tiny_detector('ATSS'), path / 'atss.pth', class_names=names)
    save_classifier(classifier_config(), path / 'classifier.pth')
    return path


@pytest.fixture(scope='module')
def ranks(folder):
    multiprocessing.spawn(process, args=(folder,), nprocs=2)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in (0, 1)]


def assert_close(one, other):
    """Equal but for the order of float32 sums over some thousand values."""
    assert one.keys() == other.keys()
    for name in one:
        scale = other[name].abs().max().item()
        assert torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-4 * scale + 1e-8), name


def test_both_processes_have_the_same_gradients(ranks):
    for kind in ('terms', 'all', 'blind', 'atss', 'classifier'):
        for name, value in ranks[0][kind].items():
            assert torch.equal(value, ranks[1][kind][name]), (kind, name)
    assert len(ranks[0]['tasks']) > 3
    assert ranks[1]['tasks'] == {}


def test_terms_teach_as_one_process_with_all_images(ranks, folder):
    whole, _ = gradients_after(faster_rcnn(folder, TERMS), range(4), terms_alone=True)
    assert_close(ranks[0]['terms'], whole)


def test_the_whole_objective_is_the_mean_of_the_processes(ranks, folder):
    """The task's loss of a process without labels is 0, as in MMDetection one without objects."""
    for kind, terms in (('all', TERMS), ('blind', dict(TERMS, loss_dkd=DKD))):
        parts = [gradients_after(faster_rcnn(folder, terms), own)[0] for own in ([0, 1], [2, 3])]
        mean = {name: (parts[0][name] + parts[1][name]) / 2 for name in parts[0]}
        assert_close(ranks[0][kind], mean)


def test_losses_that_add_up_over_processes_neither_wait_nor_shrink(ranks, folder):
    """The task's gradient is that of one process, up to one sample that counts for no object."""
    whole, _ = gradients_after(atss(folder), range(4))
    found = ranks[0]['atss']
    name = 'bbox_head.atss_cls.weight'
    ratio = float((found[name] * whole[name]).sum() / whole[name].square().sum())
    assert ratio == pytest.approx(1, abs=0.15)


def test_each_label_of_a_classifier_has_the_weight_that_it_has_in_one_process(ranks, folder):
    assert_close(ranks[0]['classifier'], classifier_gradients(classifier(folder), list(range(6))))
